"""The whole fleet: it comes up, again and again, and leaves nothing behind."""

from collections.abc import Iterator
from ipaddress import ip_address

import httpx
import psutil
import pytest

from fleet.launcher import TOGETHER, Fleet, FleetFailed
from fleet.settings import PARTS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), durable=False)
    fleet.start()
    yield fleet
    fleet.kill()


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), durable=False, processes=True)
    fleet.start()
    yield fleet
    fleet.kill()


def pids(fleet: Fleet) -> dict[str, int]:
    """Pids of everything that runs, by name."""
    found = {server.name: server.pid for server in fleet.servers.all}
    found |= {name: fleet.process(name).pid for name in (TOGETHER, *PARTS)}
    return {name: pid for name, pid in found.items() if pid is not None}


class TestTogether:
    def test_is_one_process_over_three_servers_and_ready(self, together: Fleet) -> None:
        assert sorted(pids(together)) == ["fleet", "nats", "postgres", "s3"]
        assert together.is_ready()

    def test_starting_it_again_changes_nothing(self, together: Fleet) -> None:
        before = pids(together)

        Fleet(together.data, durable=False).start()

        assert pids(together) == before

    def test_it_listens_on_this_machine_only(self, together: Fleet) -> None:
        addresses = [
            ip_address(connection.laddr.ip.removeprefix("::ffff:"))
            for pid in pids(together).values()
            for connection in psutil.Process(pid).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]

        assert addresses
        assert [address for address in addresses if not address.is_loopback] == []

    def test_comes_back_after_a_kill(self, together: Fleet) -> None:
        before = pids(together)

        together.kill()
        assert pids(together) == {}
        together.start()

        assert together.is_ready()
        assert not set(pids(together).values()) & set(before.values())

    def test_stopping_leaves_no_process_and_no_port(self, together: Fleet) -> None:
        family = [psutil.Process(pid) for pid in pids(together).values()]
        family += [child for process in family for child in process.children(recursive=True)]

        together.stop()

        assert [process for process in family if process.is_running()] == []
        with pytest.raises(httpx.ConnectError):
            httpx.get(together.url)


class TestApart:
    def test_every_part_is_a_process(self, apart: Fleet) -> None:
        assert sorted(pids(apart)) == sorted(["nats", "postgres", "s3", *PARTS])

    def test_one_part_is_killed_and_started_again(self, apart: Fleet) -> None:
        before = pids(apart)

        apart.kill_one("tool")
        assert "tool" not in pids(apart)
        apart.start_one("tool")

        assert {name for name, pid in pids(apart).items() if pid != before[name]} == {"tool"}

    def test_a_part_that_ends_while_it_starts_is_an_error_with_its_log(self, apart: Fleet) -> None:
        apart.kill_one("tool")
        broken = Fleet(apart.data, processes=True, environment={"TOOL_DATABASE__PORT": "none"})

        with pytest.raises(FleetFailed, match="TOOL_DATABASE__PORT"):
            broken.start_one("tool")
        apart.start_one("tool")

    def test_the_other_mode_replaces_it(self, apart: Fleet) -> None:
        Fleet(apart.data, durable=False).start()

        assert sorted(pids(apart)) == ["fleet", "nats", "postgres", "s3"]
