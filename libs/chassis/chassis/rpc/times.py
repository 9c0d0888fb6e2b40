"""Times and spans of time as the contracts have them."""

from datetime import datetime, timedelta
from typing import overload

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp


@overload
def timestamp(time: datetime) -> Timestamp: ...
@overload
def timestamp(time: datetime | None) -> Timestamp | None: ...
def timestamp(time: datetime | None) -> Timestamp | None:
    """Return a time that knows its zone as a Timestamp; None stays None."""
    if time is None:
        return None
    message = Timestamp()
    message.FromDatetime(time)
    return message


@overload
def duration(span: timedelta) -> Duration: ...
@overload
def duration(span: timedelta | None) -> Duration | None: ...
def duration(span: timedelta | None) -> Duration | None:
    """Return a span of time as a Duration; None stays None."""
    if span is None:
        return None
    message = Duration()
    message.FromTimedelta(span)
    return message
