from __future__ import annotations

import gzip
from collections.abc import Callable
from functools import partial

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from alertd.http.inflate import INFLATE, NotCompressed, TooLong
from tests.unit.http.fakes import MAX_BYTES, Site

Compress = Callable[[bytes], bytes]


def zstd_stream(data: bytes) -> bytes:
    """Compress as a sender does that does not know the length beforehand."""
    stream = zstandard.ZstdCompressor().compressobj()
    return stream.compress(data) + stream.flush()


WAYS: list[tuple[str, Compress]] = [
    ("gzip", partial(gzip.compress, mtime=0)),
    ("zstd", zstandard.compress),
    ("zstd", zstd_stream),
]
each_way = pytest.mark.parametrize(("encoding", "compress"), WAYS)


@each_way
@given(data=st.binary(max_size=300))
def test_what_was_compressed_comes_back(encoding: str, compress: Compress, data: bytes) -> None:
    assert INFLATE[encoding](compress(data), len(data)) == data


@each_way
def test_no_more_is_inflated_than_may_be(encoding: str, compress: Compress) -> None:
    bomb = compress(bytes(50_000_000))
    with pytest.raises(TooLong):
        INFLATE[encoding](bomb, 1_000_000)
    with pytest.raises(TooLong):
        INFLATE[encoding](compress(bytes(1001)), 1000)


@each_way
def test_a_body_that_breaks_off_is_not_taken_for_a_whole_one(
    encoding: str, compress: Compress
) -> None:
    whole = compress(bytes(range(256)) * 20)
    for length in range(1, len(whole)):
        with pytest.raises(NotCompressed):
            INFLATE[encoding](whole[:length], 10_000)


@each_way
def test_what_follows_is_not_ignored(encoding: str, compress: Compress) -> None:
    with pytest.raises(NotCompressed):
        INFLATE[encoding](compress(b"abc") + b"junk", 10_000)


def test_gzip_may_have_several_members() -> None:
    assert INFLATE["gzip"](gzip.compress(b"a") + gzip.compress(b"b"), 10) == b"ab"
    with pytest.raises(TooLong):
        INFLATE["gzip"](gzip.compress(b"aaaa") + gzip.compress(b"bbbb"), 7)


def test_a_frame_that_wants_much_memory_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    frame = stream.compress(b"ab" * 5000) + stream.flush()
    with pytest.raises(NotCompressed, match="too much memory"):
        INFLATE["zstd"](frame, 1_000_000)


def test_a_frame_that_says_it_is_shorter_than_it_is_is_refused() -> None:
    frame = bytearray(zstandard.compress(bytes(50_000_000)))
    length = slice(6, 10)  # RFC 8878, 3.1.1.1: behind magic, descriptor and window
    assert int.from_bytes(frame[length], "little") == 50_000_000
    frame[length] = (1000).to_bytes(4, "little")
    with pytest.raises(NotCompressed):
        INFLATE["zstd"](bytes(frame), 1_000_000)


@each_way
async def test_compressed_events_are_events(encoding: str, compress: Compress) -> None:
    site = Site()
    answer = await site.push(compress(b'[{"metricName": "m"}]'), Content_Encoding=encoding)
    assert (answer.status, answer.body["accepted"]) == (202, 1)


@each_way
async def test_a_bomb_is_413_and_broken_data_400(encoding: str, compress: Compress) -> None:
    site = Site()
    bomb = await site.push(compress(b" " * (MAX_BYTES + 1)), Content_Encoding=encoding.upper())
    assert bomb.status == 413
    assert str(MAX_BYTES) in bomb.body["detail"]
    broken = await site.push(b'[{"metricName": "m"}]', Content_Encoding=encoding)
    assert broken.status == 400
    assert encoding in broken.body["detail"]


async def test_another_encoding_is_refused_with_those_that_are_taken() -> None:
    answer = await Site().push(b"[]", Content_Encoding="br")
    assert answer.status == 415
    assert answer.headers["Accept-Encoding"] == "gzip, zstd"
