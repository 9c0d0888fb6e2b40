"""The line between transactions and the network: whoever goes out checks that no unit of work is open behind them.

A transaction that waits for a peer holds a connection and locks for as long as the peer likes. `chassis.data` marks a
unit of work as open, whatever enters the network asks here first.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


class NetworkInsideUnitOfWork(RuntimeError):
    """A peer, provider or storage was called while a unit of work was open: a fault of the caller's code."""


@dataclass(slots=True)
class _Unit:
    is_open: bool = True


_unit: ContextVar[_Unit | None] = ContextVar("unit_of_work", default=None)


@contextmanager
def inside_unit_of_work() -> Iterator[None]:
    """Mark a unit of work of this task as open until the end of the block."""
    # The mark is an object, not a flag: a task started inside copies the context and must see the end, too.
    mark = _Unit()
    token = _unit.set(mark)
    try:
        yield
    finally:
        mark.is_open = False
        _unit.reset(token)


def is_unit_of_work_open() -> bool:
    """Whether a unit of work of this task is open."""
    mark = _unit.get()
    return mark is not None and mark.is_open


def entering_network(what: str) -> None:
    """Allow the network to be entered. Raises NetworkInsideUnitOfWork, naming `what`, while a unit of work is open."""
    if is_unit_of_work_open():
        raise NetworkInsideUnitOfWork(f"{what} was called while a unit of work was open")
