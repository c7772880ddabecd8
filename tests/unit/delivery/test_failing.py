"""Receivers that fail, as the status names them."""

from __future__ import annotations

from msgspec import structs

from alertd.delivery.failing import MAX_REMEMBERED, MAX_SHOWN, FailingReceivers
from alertd.model import Target
from alertd.outbound import DeliveryStatus, Outgoing, Settlement

OPS = Target("ops")
FAILS, SUCCESS, GIVEN_UP = (
    DeliveryStatus.RETRY_PENDING,
    DeliveryStatus.SUCCESS,
    DeliveryStatus.FAILED,
)


def note(
    receivers: FailingReceivers,
    status: DeliveryStatus,
    at_us: int,
    target: Target = OPS,
    *,
    attempts: int = 0,
) -> None:
    outgoing = Outgoing(
        id="m", target=target, group_key="{}", parts=(), begun_us=5, attempts=attempts,
        next_attempt_us=5,
    )  # fmt: skip
    settlement = Settlement(
        id="m", status=status, attempts=attempts + 1, next_attempt_us=at_us, at_us=at_us,
        last_error=f"refused at {at_us}",
    )  # fmt: skip
    receivers.note(outgoing, settlement)


def test_a_receiver_fails_from_its_first_refusal_until_it_takes_a_message() -> None:
    receivers = FailingReceivers()
    note(receivers, GIVEN_UP, 9)
    assert receivers.longest() == []
    for at_us in (10, 20):
        note(receivers, FAILS, at_us)
    [failing] = receivers.longest()
    assert structs.astuple(failing) == (OPS, 10, "refused at 20")
    note(receivers, SUCCESS, 30)
    assert receivers.longest() == []


def test_after_a_restart_it_fails_since_the_message_was_begun_that_waits() -> None:
    receivers = FailingReceivers()
    note(receivers, FAILS, 100, attempts=3)
    assert [one.since_us for one in receivers.longest()] == [5]


def test_one_for_which_nothing_waits_is_forgotten() -> None:
    receivers = FailingReceivers()
    note(receivers, FAILS, 10)
    receivers.forget_idle({OPS: 1})
    assert receivers.longest()
    receivers.forget_idle({OPS: 0})
    assert receivers.longest() == []


def test_those_that_fail_for_longest_are_shown_and_memory_has_a_bound() -> None:
    receivers = FailingReceivers()
    for n in range(MAX_REMEMBERED + 5):
        note(receivers, FAILS, 10_000 - n, Target(f"c{n}"))
    shown = [one.target.channel for one in receivers.longest()]
    assert shown == [f"c{n}" for n in range(MAX_REMEMBERED - 1, MAX_REMEMBERED - 1 - MAX_SHOWN, -1)]
