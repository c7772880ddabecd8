"""Compressed request bodies, inflated within a bound.

Owns which ``Content-Encoding`` values are taken (``gzip``, ``zstd``) and that no more is inflated
than a body may have: a few kilobytes can stand for gigabytes. gzip may consist of several
members, zstd is one frame. Blocks for some milliseconds a megabyte: call it beside the loop.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Final

import zstandard

_GZIP_WBITS: Final = 16 + zlib.MAX_WBITS
_MAX_WINDOW_BYTES: Final = 8 << 20
"""What a zstd frame may ask to be kept; RFC 8878 (3.1.1.1.2) recommends to support so much."""


class TooLong(Exception):
    """There is more in a body than it may have."""


class NotCompressed(Exception):
    """The bytes are not what their encoding says."""


def gunzip(data: bytes, max_bytes: int) -> bytes:
    """Return what ``data`` holds (RFC 1952). Raises ``TooLong`` and ``NotCompressed``."""
    found = bytearray()
    while data:
        member = zlib.decompressobj(_GZIP_WBITS)
        try:
            found += member.decompress(data, max_bytes + 1 - len(found))
        except zlib.error as error:
            raise NotCompressed(str(error)) from error
        if len(found) > max_bytes:
            raise TooLong
        if not member.eof:
            raise NotCompressed("the data ends too early")
        data = member.unused_data
    return bytes(found)


def unzstd(data: bytes, max_bytes: int) -> bytes:
    """Return what a frame holds (RFC 8878). Raises ``TooLong`` and ``NotCompressed``."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
    try:
        size_bytes = zstandard.frame_content_size(data)
        if size_bytes > max_bytes:
            raise TooLong
        if size_bytes >= 0:
            return decompressor.decompress(data, allow_extra_data=False)
        return _unzstd_of_unknown_size(data, max_bytes, decompressor)
    except zstandard.ZstdError as error:
        raise NotCompressed(str(error)) from error


def _unzstd_of_unknown_size(
    data: bytes, max_bytes: int, decompressor: zstandard.ZstdDecompressor
) -> bytes:
    """Return what a frame holds whose sender did not know how long that would be.

    It is inflated twice: a reader is bounded, but takes a frame that breaks off for a whole one,
    and what does not, is not bounded.
    """
    with decompressor.stream_reader(data) as reader:
        if len(reader.read(max_bytes + 1)) > max_bytes:
            raise TooLong
    frame = decompressor.decompressobj()
    found = frame.decompress(data)
    if not frame.eof:
        raise NotCompressed("the data ends too early")
    if frame.unused_data:
        raise NotCompressed(f"{len(frame.unused_data)} bytes follow the frame")
    return found


INFLATE: Final[Mapping[str, Callable[[bytes, int], bytes]]] = {"gzip": gunzip, "zstd": unzstd}
"""What inflates each ``Content-Encoding`` that is taken."""
