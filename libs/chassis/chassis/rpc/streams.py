"""Answers that are streams, and how they end before their time."""

import asyncio
import inspect
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc

from chassis.errors import FleetError
from chassis.rpc.caller import Caller

if TYPE_CHECKING:
    # Any: one type for all RPCs. gRPC's classes are generic for the checker only.
    Context = grpc.aio.ServicerContext[Any, Any]
    Handler = grpc.RpcMethodHandler[Any, Any]
else:
    Context = grpc.aio.ServicerContext
    Handler = grpc.RpcMethodHandler


@dataclass(eq=False, slots=True)
class Stream:
    """One call that answers with messages, and may be ended from outside."""

    caller: Caller | None
    task: "asyncio.Task[Any]"  # Any: whatever the handler returns
    is_writing: bool = False
    ended_by: FleetError | None = None

    def end(self, why: FleetError) -> None:
        """End the call with an error. The first one counts."""
        if self.ended_by is not None:
            return
        self.ended_by = why
        # gRPC has no way to abort a call while a message is being written; the end waits for the message then.
        if not self.is_writing:
            self.task.cancel()

    async def send(self, answer: Any, context: Context) -> None:  # Any: an async iterator, or a coroutine of one
        """Write what the servicer answers with, to its end. Raises the error that the call was ended with."""
        messages = await answer if inspect.isawaitable(answer) else answer
        # Closed here and not by the garbage collector, so that what the servicer holds is released with the call.
        async with aclosing(messages):
            async for message in messages:
                self.is_writing = True
                await context.write(message)
                self.is_writing = False
                if self.ended_by is not None:
                    raise self.ended_by
