"""Waiting for what happens in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def eventually(ask: Callable[[], Awaitable[T]], *, timeout: float = 10.0, every: float = 0.02) -> T:
    """Ask until the answer is true, and return it. Raises AssertionError after `timeout` seconds."""
    deadline = asyncio.get_running_loop().time() + timeout
    while not (answer := await ask()):
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"did not happen within {timeout} s; the last answer was {answer!r}")
        await asyncio.sleep(every)
    return answer
