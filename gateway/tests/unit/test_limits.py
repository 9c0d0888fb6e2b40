from datetime import timedelta

from gateway.limits import RateLimiter


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class TestRateLimiter:
    def test_fills_evenly(self) -> None:
        clock = Clock()
        limiter = RateLimiter(clock=clock)
        taken = [limiter.take("a", 60)[1] for _ in range(61)]
        assert taken[:60] == [None] * 60
        assert taken[60] is not None
        assert taken[60].retry_after == timedelta(seconds=1)

        clock.now = 1.0
        assert limiter.take("a", 60)[1] is None
        assert limiter.take("a", 60)[1] is not None

    def test_never_holds_more_than_a_minute(self) -> None:
        clock = Clock()
        limiter = RateLimiter(clock=clock)
        limiter.take("a", 60)
        clock.now = 1e6

        assert limiter.take("a", 60)[0].remaining == 59

    def test_counts_callers_apart_and_forgets_the_oldest(self) -> None:
        limiter = RateLimiter(clock=Clock(), capacity=2)
        for key in ("a", "b", "c"):
            assert limiter.take(key, 1)[1] is None

        assert limiter.take("c", 1)[1] is not None
        assert limiter.take("a", 1)[1] is None
