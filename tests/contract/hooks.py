"""What schemathesis does not know of itself: bodies in msgpack."""

from __future__ import annotations

import json

import msgspec
import schemathesis

_GREATEST = 2**64


@schemathesis.serializer("application/msgpack")
def as_msgpack(context: schemathesis.SerializationContext, value: object) -> bytes:
    """Return a generated body as it is sent; msgpack has no integers beyond 64 bits."""
    return msgspec.msgpack.encode(json.loads(json.dumps(value), parse_int=_number))


def _number(literal: str) -> int | float:
    number = int(literal)
    return number if -_GREATEST // 2 <= number < _GREATEST else float(number)
