from __future__ import annotations

import pytest

from alertd.channels.backoff import MAX_RETRY_AFTER_S, Backoff, parse_retry_after

JUNE_30_2025_S = 1_751_295_600.0  # 2025-06-30T15:00:00Z
BACKOFF = Backoff(first_s=1.0, max_s=300.0)


def test_the_wait_doubles_from_the_first_to_the_maximum_and_stays_there() -> None:
    waits = [BACKOFF.wait_s(n, None, lambda: 1.0) for n in range(1, 12)]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_jitter_takes_away_up_to_half_of_the_wait() -> None:
    assert BACKOFF.wait_s(4, None, lambda: 0.0) == 4.0
    assert BACKOFF.wait_s(4, None, lambda: 0.5) == 6.0


def test_ten_thousand_failures_do_not_overflow() -> None:
    assert BACKOFF.wait_s(10_000, None, lambda: 1.0) == 300.0


def test_what_the_receiver_asks_for_is_the_least_wait() -> None:
    assert BACKOFF.wait_s(1, 30.0, lambda: 0.0) == 30.0
    assert BACKOFF.wait_s(10, 30.0, lambda: 0.0) == 150.0


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        (None, None),
        ("0", 0.0),
        ("17", 17.0),
        (" 17 ", 17.0),
        ("999999999999", MAX_RETRY_AFTER_S),
        ("9" * 5000, None),
        ("-5", None),
        ("1.5", None),
        ("nan", None),
        ("", None),
        ("soon", None),
        ("Mon, 30 Jun 2025 15:00:45 GMT", 45.0),
        ("Mon, 30 Jun 2025 15:00:45 -0000", 45.0),
        ("Mon, 30 Jun 2025 14:00:00 GMT", 0.0),
        ("Mon, 30 Jun 2031 15:00:00 GMT", MAX_RETRY_AFTER_S),
        ("Mon, 99 Jun 2025 15:00:00 GMT", None),
        ("Mon, 30 Jun 99999999999999999999 15:00:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_nonsense_asks_nothing(
    header: str | None, wait_s: float | None
) -> None:
    assert parse_retry_after(header, JUNE_30_2025_S) == wait_s
