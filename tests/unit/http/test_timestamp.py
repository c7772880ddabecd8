from __future__ import annotations

from array import array
from datetime import UTC, datetime
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertd.http.timestamp import instant_us, instants_us

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _exact_us(moment: datetime, digits: str, offset_minutes: int) -> int:
    """Return the instant by rational arithmetic; ``round`` of a Fraction is half to even."""
    days = (moment.date() - _EPOCH.date()).days
    seconds = days * 86_400 + moment.hour * 3600 + moment.minute * 60 + moment.second
    fraction = Fraction(int(digits), 10 ** len(digits)) if digits else Fraction(0)
    return round((seconds - offset_minutes * 60 + fraction) * 1_000_000)


@given(
    moment=st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31)),
    digits=st.one_of(
        st.text("0123456789", max_size=12),
        st.text("0123456789", min_size=6, max_size=6),
        st.from_regex(r"[0-9]{6}50{0,40}1?", fullmatch=True),
        st.text("0123456789", min_size=50, max_size=80),
    ),
    offset_minutes=st.integers(-23 * 60 - 59, 23 * 60 + 59),
    separator=st.sampled_from("Tt "),
    zulu=st.sampled_from(["Z", "z", None]),
)
def test_text_is_translated_exactly_at_any_precision_and_offset(
    moment: datetime, digits: str, offset_minutes: int, separator: str, zulu: str | None
) -> None:
    sign = "-" if offset_minutes < 0 else "+"
    hours, minutes = divmod(abs(offset_minutes), 60)
    offset = zulu or f"{sign}{hours:02}:{minutes:02}"
    fraction = f".{digits}" if digits else ""
    date = f"{moment.year:04}-{moment.month:02}-{moment.day:02}"
    text = f"{date}{separator}{moment:%H:%M:%S}{fraction}{offset}"
    assert instant_us(text) == _exact_us(moment, digits, 0 if zulu else offset_minutes)


@given(st.floats(-1e11, 1e11).filter(lambda seconds: seconds == 0 or abs(seconds) >= 2**14))
def test_a_float_is_rounded_exactly_half_to_even(seconds: float) -> None:
    assert instant_us(seconds) == round(Fraction(seconds) * 1_000_000)


@given(st.integers(-(10**11), 10**11))
def test_whole_seconds_are_exact(seconds: int) -> None:
    assert instant_us(seconds) == seconds * 1_000_000


@pytest.mark.parametrize(
    ("given_time", "says"),
    [
        ("", "RFC 3339"),
        ("yesterday", "RFC 3339"),
        ("2025-06-30", "RFC 3339"),
        ("2025-W27-1T00:00:00Z", "RFC 3339"),
        ("20250630T150000Z", "RFC 3339"),
        ("2025-06-30T15:00:00", "no offset"),
        ("2025-06-30T15:00:00.5", "no offset"),
        ("2025-06-30T15:00:00.Z", "RFC 3339"),
        ("2025-06-30T15:00:00,5Z", "RFC 3339"),
        ("2025-06-30T15:00:00+24:00", "RFC 3339"),
        ("2025-06-30T15:00:00+02:60", "RFC 3339"),
        ("2025-06-30T15:00:00+0200", "RFC 3339"),
        ("2025-06-30T15:00:00Z ", "RFC 3339"),
        ("٢٠٢٥-06-30T15:00:00Z", "RFC 3339"),  # digits, but not of ASCII
        ("2025-06-30T15:00:00.٢٣٤٢٣٤Z", "RFC 3339"),
        ("2025-06-30T15:00:00.123456", "no offset"),
        ("2025-06-30T15:00:00.123456+0200", "RFC 3339"),
        ("2025-02-29T15:00:00Z", "not a time that exists"),
        ("0000-01-01T00:00:00Z", "not a time that exists"),
        ("2025-06-30T24:00:00Z", "not a time that exists"),
        ("2016-12-31T23:59:60Z", "leap second"),
        (1751295600123, "looks like milliseconds; send seconds, like 1751295600.123"),
        (1751295600123456, "looks like microseconds; send seconds, like 1751295600.123"),
        (1751295600123456789, "looks like nanoseconds; send seconds, like 1751295600.123"),
        (-1751295600123, "looks like milliseconds"),
        (10**300, "no time"),
        (float("nan"), "finite"),
        (float("-inf"), "finite"),
    ],
)
def test_what_is_not_a_time_is_refused_with_the_remedy(
    given_time: str | int | float, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        instant_us(given_time)


def test_a_tie_goes_to_the_even_microsecond() -> None:
    assert instant_us("1970-01-01T00:00:00.0000005Z") == 0
    assert instant_us("1970-01-01T00:00:00.0000015Z") == 2
    assert instant_us("1970-01-01T00:00:00.00000050000000001Z") == 1
    assert instant_us("1969-12-31T23:59:59.9999995Z") == 0


@given(
    st.lists(
        st.one_of(
            st.datetimes(timezones=st.just(UTC)).map(lambda t: f"{t:%Y-%m-%dT%H:%M:%S.%f}Z"),
            st.text("0123456789:-TZ. +", min_size=20, max_size=30),
            st.none(),
            st.integers(0, 10**10),
        ),
        max_size=5,
    )
)
def test_a_batch_of_times_is_read_as_each_alone(timestamps: list[str | int | None]) -> None:
    def one_by_one() -> list[int]:
        return [7 if each is None else instant_us(each) for each in timestamps]

    try:
        wanted = one_by_one()
    except ValueError:
        with pytest.raises(ValueError, match=r"\w"):
            instants_us(timestamps, 7)
    else:
        assert list(instants_us(timestamps, 7)) == wanted


ALIKE = [
    f"2025-06-30T15:{n % 60:02}:{n * 7 % 60:02}.{n * 12_347 % 1_000_000:06}Z" for n in range(200)
]
MILLIS = [f"{text[:23]}Z" for text in ALIKE]
WHOLE = [f"{text[:19]}Z" for text in ALIKE]


def test_many_times_written_alike_are_read_in_columns() -> None:
    pytest.importorskip("numpy", reason="columns need NumPy")
    from alertd.http.timestamp_columns import alike_us

    for texts in (ALIKE, MILLIS, WHOLE):
        assert alike_us(texts) == array("q", map(instant_us, texts))
    with pytest.raises(ValueError, match="not a time that exists"):
        alike_us(["2025-02-30T15:00:00Z"] * 200)


@given(
    st.sampled_from([ALIKE, MILLIS, WHOLE]),
    st.integers(0, len(ALIKE) - 1),
    st.integers(0, len(ALIKE[0]) - 1),
    st.sampled_from("0123456789:-TtZz. +/٢\x00\ud800"),
)
def test_one_time_written_otherwise_is_read_for_what_it_is(
    written: list[str], place: int, at: int, character: str
) -> None:
    texts = [*written]
    texts[place] = texts[place][:at] + character + texts[place][at + 1 :]
    try:
        wanted = [instant_us(text) for text in texts]
    except ValueError:
        with pytest.raises(ValueError, match=r"\w"):
            instants_us(texts, 7)
    else:
        assert list(instants_us(texts, 7)) == wanted


def test_times_that_run_into_each_other_are_not_taken_for_whole_ones() -> None:
    texts = [*ALIKE]
    texts[3:5] = [texts[3][:-1], "Z" + texts[4]]
    with pytest.raises(ValueError, match=r"\w"):
        instants_us(texts, 7)


SECONDS = st.one_of(
    st.floats(-1e11, 1e11),
    st.integers(-(10**11), 10**11),
    st.integers(0, 10**12).map(lambda ticks: 1_750_000_000 + ticks / 2**21),  # with ties
)


@given(
    st.lists(SECONDS, min_size=64, max_size=64),
    st.none() | st.sampled_from([1e11 + 1, -2e11, float("nan"), float("inf"), 10**400]),
)
def test_many_numbers_are_read_as_each_alone(numbers: list[float], wrong: float | None) -> None:
    if wrong is None:
        assert list(instants_us(numbers, 7)) == list(map(instant_us, numbers))
    else:
        with pytest.raises(ValueError, match=r"\w"):
            instants_us([*numbers, wrong], 7)
