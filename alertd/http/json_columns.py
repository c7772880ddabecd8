"""Many events in JSON that are all written alike: a whole body in some array operations.

A program that sends events writes each as it wrote the first: the same members in the same order,
with the same spaces. So the first event tells the *shape* of all: which bytes stand still, and
what stands between them. Where an event's fields begin then follows from where it begins itself,
and every byte is either compared with the shape or belongs to a field.

Owns this reading, which must give what msgspec gives, or nothing: whatever is not as expected
(another member, an escape, null) is for ``json_events.py`` to read. Labels and names of metrics are
handed on as they were written: the registry knows those that are valid. Needs NumPy.

Cost: 0.2 us an event of 150 bytes, and as much as 600 of them for each body, for an array operation
takes its time however few the events. msgspec makes an object of an event in as much as three.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from enum import Enum
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alertd.http.number_columns import LONGEST_NUMBER, floats_in, lengths_of
from alertd.http.timestamp import instants_us
from alertd.http.timestamp_columns import is_spelt, numbers_us, rows_us

_Bytes = NDArray[np.uint8]
_Rows = NDArray[np.uint8]
_Places = NDArray[np.int64]

_LONGEST: Final = 512
"""Bytes of a field, and of what stands between two of them."""
_NULS: Final = bytes(2 * _LONGEST)
"""Behind the body: a place that is too great, or below 0, is found in there."""
_MOST_BYTES: Final = 4
"""Bytes of such a column for each of the body: texts of very different lengths cost too many."""

_READ_IN_BYTES: Final = 1 << 20
"""So much memory is kept to read bodies in. Blocks of that size are cleared by the kernel each time
that they are taken and given back, which takes as long as to copy a body ten times."""
_PIECE_BYTES: Final = 1 << 16

_read_in = np.empty(0, np.uint8)
"""Of the body that is being read; none is handed on with what was read."""

_SPACE: Final = rb"[ \t\n\r]*"
_PLAIN: Final = rb'[^"\\\x00-\x1f]*'
_BEGIN = re.compile(rb"%b\[%b" % (_SPACE, _SPACE))
_COMMA = re.compile(rb"%b,%b" % (_SPACE, _SPACE))
_END = re.compile(rb"%b\]%b" % (_SPACE, _SPACE))
_NEW_LINE, _LINE_ENDS = re.compile(rb"\n"), re.compile(rb"\n*")
_MEMBER = re.compile(
    rb'%b"(?P<key>[a-zA-Z]+)"%b:%b'
    rb'(?:"(?P<text>%b)"|(?P<number>-?[0-9.]+(?:[eE][-+]?[0-9]+)?)|(?P<object>\{[^{}]*\}))%b'
    % (_SPACE, _SPACE, _SPACE, _PLAIN, _SPACE)
)
_PLAIN_TEXT = re.compile(_PLAIN)
_SHORTEST_EVENT: Final = len('{"metricName":"m"}')


class _Field(Enum):
    __hash__ = object.__hash__  # of the name it would take longer than all else that is done here

    METRIC = b"metricName", "text"
    TIME = b"timestamp", "text"
    EPOCH = b"timestamp", "number"
    VALUE = b"value", "number"
    LABELS = b"labels", "object"
    ID = b"id", "text"


_FIELDS: Final = {field.value: field for field in _Field}
_NUMBERS: Final = (_Field.VALUE, _Field.EPOCH)
_OF_ANY_LENGTH: Final = (_Field.LABELS, _Field.ID, _Field.METRIC, *_NUMBERS)
"""Of those on one side of where the labels begin, only the first may differ in length; numbers may
all, for they end where something else begins."""


class LabelRows(NamedTuple):
    """The labels of each event, as they were written."""

    data: bytes
    """Rows of one length, with NULs behind what is shorter."""
    width: int

    def texts(self) -> list[bytes]:
        """Return them one by one."""
        texts: list[bytes] = np.frombuffer(self.data, f"S{self.width}").tolist()
        return texts


class AlikeEvents(NamedTuple):
    """Events as columns, but for their series."""

    names: list[str]
    labels: LabelRows
    times_us: array[int]
    values: array[float]
    ids: list[str | None] | None


def read_alike(body: bytes, is_lines: bool, received_us: int) -> AlikeEvents | None:
    """Return the events in ``body``, two at least, if all are written alike; else None.

    With ``is_lines`` it holds one a line, else an array. Raises ``ValueError`` for a time that is
    none, or may be none.
    """
    try:
        return _Reader(body, is_lines=is_lines).read(received_us)
    except (_Strange, IndexError):
        return None


class _Strange(Exception):
    """The body is not what this reads."""


class _Shape(NamedTuple):
    """How an event is written."""

    parts: list[bytes | _Field]
    """Bytes and fields by turns, from brace to brace."""
    first: dict[_Field, bytes]
    """What the fields of the first event hold."""
    end: int
    """Where that ends."""

    def text(self, part: bytes | _Field) -> bytes:
        """Return what the first event has for ``part``."""
        return self.first[part] if isinstance(part, _Field) else part


def _shape_at(body: bytes, begin: int) -> _Shape:
    """Return how the event is written that begins there. Raises ``_Strange``."""
    parts: list[bytes | _Field] = []
    first: dict[_Field, bytes] = {}
    keys: set[bytes] = set()
    still_from, at, mark = begin, begin, b"{"
    while body[at : at + 1] == mark and (member := _MEMBER.match(body, at + 1)) is not None:
        kind = str(member.lastgroup)
        field = _FIELDS.get((member["key"], kind))
        if field is None or member["key"] in keys or not 0 < len(member[kind]) <= _LONGEST:
            raise _Strange
        keys.add(member["key"])
        parts += [body[still_from : member.start(kind)], field]
        first[field] = member[kind]
        still_from, at, mark = member.end(kind), member.end(), b","
    if body[at : at + 1] != b"}" or _Field.METRIC not in first:
        raise _Strange
    parts.append(body[still_from : at + 1])
    if max(len(part) for part in parts if isinstance(part, bytes)) > _LONGEST:
        raise _Strange
    return _Shape(parts, first, at + 1)


class _Reader:
    """Reads one body."""

    def __init__(self, body: bytes, *, is_lines: bool) -> None:
        """Find the events. Raises ``_Strange``."""
        begin = 0 if is_lines else _end_of(_BEGIN.match(body))
        self._shape = shape = _shape_at(body, begin)
        between = body[shape.end : body.find(b"{", shape.end)]
        _end_of((_NEW_LINE if is_lines else _COMMA).fullmatch(between))
        last_end = body.rindex(b"}") + 1
        _end_of((_LINE_ENDS if is_lines else _END).fullmatch(body, last_end))
        # So that the same bytes stand behind each event, the last one too.
        *parts, closing = shape.parts
        assert isinstance(closing, bytes)
        self._parts = [*parts, closing + between]
        self._data = _in_a_row(memoryview(body)[:last_end], between, _NULS)
        braces = _places_of(ord("{"), self._data)
        width = 2 if _Field.LABELS in shape.first else 1
        count, rest = divmod(len(braces), width)
        if rest or not 2 <= count <= len(body) // _SHORTEST_EVENT or b"\0" in body:
            raise _Strange
        if is_lines and body.rstrip(b"\n").count(b"\n") != count - 1:
            raise _Strange  # an event that is not one line
        self._starts, self._labels = braces[::width], braces[width - 1 :: width]
        self._ends = np.append(self._starts[1:], last_end + len(between))
        self._spans: dict[_Field, tuple[_Places, _Places]] = {}
        self._numbers: dict[_Field, array[float]] = {}
        self._expect_one_metric(body)

    def _expect_one_metric(self, body: bytes) -> None:
        """Have the metric stand still if it is the same in some events; all are compared then."""
        parts = self._parts
        at = parts.index(_Field.METRIC)
        around = slice(at - 1, at + 2)
        member = b"".join(map(self._shape.text, parts[around]))
        looks = (1, len(self._starts) // 2, -1)
        if len(member) <= _LONGEST and all(
            body.find(member, self._starts[place], self._ends[place]) >= 0 for place in looks
        ):
            parts[around] = [member]

    def read(self, received_us: int) -> AlikeEvents:
        """Return the columns. Raises ``_Strange``, and ``ValueError`` for a time that is none."""
        parts = self._parts
        if _Field.LABELS in parts:
            cut = parts.index(_Field.LABELS)
            self._walk(parts[:cut], self._starts, self._labels)
            self._walk(parts[cut:], self._labels, self._ends)
        else:
            self._walk(parts, self._starts, self._ends)
        values = self._numbers.get(_Field.VALUE)
        return AlikeEvents(
            self._names(),
            self._label_rows(),
            self._times_us(received_us),
            array("d", [1.0]) * len(self._starts) if values is None else values,
            self._ids(),
        )

    def _walk(self, parts: Sequence[bytes | _Field], left: _Places, right: _Places) -> None:
        """Find the fields among ``parts``, which are all that stands from ``left`` to ``right``.

        From both ends to the one that may have any length.
        """
        # Of two, who could tell where the one ends and the other begins?
        free = next((field for field in _OF_ANY_LENGTH if field in parts), None)
        cut = len(parts) if free is None else parts.index(free)
        for part in parts[:cut]:
            left = self._pass(part, left, 1)
        for part in reversed(parts[cut + 1 :]):
            right = self._pass(part, right, -1)
        if free is None:
            if (left != right).any():
                raise _Strange
        elif free in _NUMBERS:
            self._read_number(free, right, right - left)
        else:
            self._spans[free] = left, right

    def _pass(self, part: bytes | _Field, at: _Places, direction: Literal[1, -1]) -> _Places:
        """Return where ``part`` ends that begins at ``at``; with direction -1, the other way."""
        if isinstance(part, _Field) and part in _NUMBERS:
            return self._pass_number(part, at, direction)
        length = len(self._shape.text(part))
        begin = at if direction > 0 else at - length
        if isinstance(part, _Field):
            self._spans[part] = begin, begin + length
        else:
            self._compare(begin, part)
        return at + direction * length

    def _pass_number(self, field: _Field, at: _Places, direction: Literal[1, -1]) -> _Places:
        """Do what ``_pass`` does for a number, whose end the next character tells."""
        beside = self._window(at if direction > 0 else at - LONGEST_NUMBER, LONGEST_NUMBER)
        lengths = lengths_of(beside.T[::direction])
        self._read_number(field, at + lengths if direction > 0 else at, lengths)
        return at + direction * lengths

    def _read_number(self, field: _Field, end: _Places, lengths: _Places) -> None:
        """Read the numbers that end there."""
        longest = int(lengths.max())
        if lengths.min() <= 0 or longest > LONGEST_NUMBER:
            raise _Strange
        numbers = floats_in(self._window(end - longest - 1, longest + 1), lengths)
        if numbers is None:
            raise _Strange
        self._numbers[field] = numbers

    def _names(self) -> list[str]:
        """Return the metrics' names, which are mostly one."""
        if _Field.METRIC not in self._spans:
            return [self._shape.first[_Field.METRIC].decode()] * len(self._starts)
        texts = self._texts(_Field.METRIC)
        if not all(map(_PLAIN_TEXT.fullmatch, set(texts))):
            raise _Strange
        names = {text: text.decode() for text in set(texts)}
        return list(map(names.__getitem__, texts))

    def _label_rows(self) -> LabelRows:
        if _Field.LABELS not in self._spans:
            return LabelRows(b"{}" * len(self._starts), len(b"{}"))
        if (self._data.take(self._spans[_Field.LABELS][1] - 1) != ord("}")).any():
            raise _Strange
        rows = self._rows(_Field.LABELS)
        return LabelRows(rows.tobytes(), rows.shape[1])

    def _times_us(self, received_us: int) -> array[int]:
        if _Field.EPOCH in self._numbers:
            times_us = numbers_us(self._numbers[_Field.EPOCH])
            if times_us is None:
                raise ValueError("one of the numbers may be no time")
            return times_us
        if _Field.TIME not in self._spans:
            return array("q", [received_us]) * len(self._starts)
        characters = len(self._shape.first[_Field.TIME])
        if is_spelt(characters):
            times_us = rows_us(self._window(self._spans[_Field.TIME][0], characters))
            if times_us is not None:
                return times_us
        return instants_us(list(map(bytes.decode, self._texts(_Field.TIME))), received_us)

    def _ids(self) -> list[str | None] | None:
        if _Field.ID not in self._spans:
            return None
        texts = self._texts(_Field.ID)
        if not _PLAIN_TEXT.fullmatch(b"".join(texts)):
            raise _Strange
        return list(map(bytes.decode, texts))

    def _texts(self, field: _Field) -> list[bytes]:
        """Return what each event has for a field."""
        rows = self._rows(field)
        texts: list[bytes] = rows.view(f"S{rows.shape[1]}").ravel().tolist()
        return texts

    def _rows(self, field: _Field) -> _Rows:
        """Return what each event has for a field, which ends with no NUL, with NULs behind it."""
        left, right = self._spans[field]
        lengths = right - left
        shortest, longest = int(lengths.min()), int(lengths.max())
        if not 0 <= shortest <= longest <= _LONGEST or not longest:
            raise _Strange
        rows = self._window(left, longest)
        if shortest < longest:
            rows *= np.tri(longest + 1, longest, -1, np.uint8).take(lengths, axis=0)
        return rows

    def _compare(self, at: _Places, still: bytes) -> None:
        """Raise ``_Strange`` unless ``still`` stands at each of these places."""
        if not (still * len(at)).startswith(self._window(at, len(still)).data):
            raise _Strange

    def _window(self, at: _Places, width: int) -> _Rows:
        """Return so many bytes from each place on. Raises ``IndexError`` and ``_Strange``."""
        if width * len(at) > _MOST_BYTES * len(self._data):
            raise _Strange
        windows = np.ndarray((len(self._data) - width + 1,), f"V{width}", self._data, strides=(1,))
        return windows[at].view(np.uint8).reshape(len(at), width)


def _in_a_row(*parts: bytes | memoryview) -> _Bytes:
    """Return ``parts`` one after the other: in memory that the next body is read in, too."""
    global _read_in
    size = sum(map(len, parts))
    whole = _read_in
    if size > len(whole):
        whole = np.empty(size, np.uint8)
        if size <= _READ_IN_BYTES:
            _read_in = whole
    end = 0
    for part in parts:
        begin, end = end, end + len(part)
        whole[begin:end] = np.frombuffer(part, np.uint8)
    return whole[:end]


def _places_of(byte: int, data: _Bytes) -> _Places:
    """Return where ``byte`` stands; a piece of the cache's size at a time."""
    pieces = range(0, len(data), _PIECE_BYTES)
    found = [np.flatnonzero(data[at : at + _PIECE_BYTES] == byte) + at for at in pieces]
    return np.concatenate(found)


def _end_of(match: re.Match[bytes] | None) -> int:
    if match is None:
        raise _Strange
    return match.end()
