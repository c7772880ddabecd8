"""Requests with a key, on a real store: done once, whatever happens in between."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest
import trio
import trio.testing

from alertd.errors import InvalidInput, StoreUnavailable
from alertd.ingest.idempotency import KeyedRequest, RequestId, RequestKeys, identify
from alertd.metrics import Metrics
from alertd.model import EventBatch
from alertd.upkeep.housekeeping import Housekeeper
from tests.unit.parts import SECOND, Parts, running
from tests.unit.store.store_samples import seen_by_another

HORIZON_US = 3600 * SECOND
ONE, OTHER = identify("key", b"body"), identify("key", b"another body")


class Sender:
    """Sends batches under keys, and counts what was answered from memory."""

    def __init__(self, parts: Parts, *, horizon_us: int = HORIZON_US) -> None:
        self.parts = parts
        self.repeats = 0
        self.keys = RequestKeys(
            parts.store.requests,
            parts.clock.now_us,
            horizon_us=horizon_us,
            on_repeat=self._count,
        )

    async def send(self, request: RequestId, batch: EventBatch) -> bytes:
        """Send ``batch`` and return the answer, which is as good as a batch has duplicates."""
        keyed = KeyedRequest(request, _answer)

        async def accept() -> bytes:
            return _answer(await self.parts.pipeline.append(batch, keyed))

        return await self.keys.answer_once(request, accept)

    def _count(self) -> None:
        self.repeats += 1


def _answer(duplicates: int) -> bytes:
    return f"{duplicates} duplicates".encode()


def stored_events(parts: Parts) -> object:
    sql = "SELECT coalesce(sum(count), 0) FROM event_log WHERE kind = 'events'"
    return seen_by_another(parts.store.path, sql)[0][0]


def remembered(parts: Parts) -> object:
    return seen_by_another(parts.store.path, "SELECT count(*) FROM request_keys")[0][0]


async def test_a_repetition_is_answered_as_the_first_and_stores_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        sender = Sender(parts)
        await sender.send(identify("first"), parts.batch(0, ids=["x"]))
        first = await sender.send(ONE, parts.batch(0, 0, ids=["x", "y"]))
        assert first == b"1 duplicates"
        assert await sender.send(ONE, parts.batch(0, 0, ids=["x", "y"])) == first
        assert (stored_events(parts), sender.repeats) == (2, 1)
    async with running(tmp_path) as parts:
        assert await Sender(parts).send(ONE, parts.batch(0, 0, ids=["x", "y"])) == first
        assert stored_events(parts) == 2


async def test_the_key_of_another_body_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        sender = Sender(parts)
        await sender.send(ONE, parts.batch(0))
        with pytest.raises(InvalidInput, match="used for another request"):
            await sender.send(OTHER, parts.batch(0))
        await sender.send(identify("another key", b"body"), parts.batch(0))
        assert (stored_events(parts), sender.repeats) == (2, 0)


async def test_of_many_at_once_one_is_stored_and_all_are_answered_alike(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        sender, answers = Sender(parts), []

        async def send() -> None:
            answers.append(await sender.send(ONE, parts.batch(0, 0)))

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(send)
        assert answers == [b"0 duplicates"] * 20
        assert (stored_events(parts), sender.repeats) == (2, 19)


async def test_a_client_that_gives_up_and_tries_again_is_stored_once(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        sender = Sender(parts)
        for attempt in range(30):
            key = identify(f"attempt {attempt}")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sender.send, key, parts.batch(0))
                for _ in range(attempt):  # give up at another moment each time
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            await sender.send(key, parts.batch(0))
        assert (stored_events(parts), remembered(parts)) == (30, 30)


async def test_nothing_but_duplicates_and_nothing_at_all_are_remembered(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        sender = Sender(parts)
        await parts.pipeline.append(parts.batch(0, ids=["x"]))
        for key in ("duplicates", "nothing"):
            batch = parts.batch(0, ids=["x"]) if key == "duplicates" else parts.batch()
            await sender.send(identify(key), batch)
            with pytest.raises(InvalidInput):
                await sender.send(identify(key, b"another"), parts.batch(0))
        assert (stored_events(parts), remembered(parts)) == (1, 2)
        await parts.until_judged()


async def test_a_request_that_was_not_stored_is_not_remembered(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        sender = Sender(parts)
        await parts.store.writer.run("fill", lambda c: _limit_pages(c, c.pragma("page_count")))
        with pytest.raises(StoreUnavailable):
            await sender.send(ONE, parts.batch(*[0] * 5_000))
        assert (stored_events(parts), remembered(parts)) == (0, 0)
        await parts.store.writer.run("free", lambda c: _limit_pages(c, 1 << 30))
        await sender.send(OTHER, parts.batch(0))
        assert (stored_events(parts), remembered(parts)) == (1, 1)


async def test_the_second_is_taken_when_the_first_fails(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        keys, gate, answers = Sender(parts).keys, trio.Event(), []

        async def fail() -> bytes:
            await gate.wait()
            raise StoreUnavailable("down")

        async def succeed() -> bytes:
            await trio.lowlevel.checkpoint()
            return b"done"

        async def first() -> None:
            with pytest.raises(StoreUnavailable):
                await keys.answer_once(ONE, fail)

        async def second() -> None:
            answers.append(await keys.answer_once(OTHER, succeed))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            await trio.testing.wait_all_tasks_blocked(0.01)
            nursery.start_soon(second)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert not answers
            gate.set()
        assert answers == [b"done"]


def _limit_pages(connection: apsw.Connection, pages: int) -> None:
    connection.pragma("max_page_count", pages)


async def test_behind_the_horizon_a_key_is_new_again(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        sender = Sender(parts, horizon_us=30_000)
        await sender.send(ONE, parts.batch(0))
        await trio.sleep(0.05)  # the clock of a real store is real
        await sender.send(OTHER, parts.batch(0))
        assert (stored_events(parts), remembered(parts)) == (2, 1)
        with pytest.raises(InvalidInput):
            await Sender(parts).send(ONE, parts.batch(0))


async def test_housekeeping_forgets_what_expired_and_counts_what_went_early(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as parts:
        sender, metrics = Sender(parts), Metrics()
        async with trio.open_nursery() as nursery:
            for number in range(1200):
                nursery.start_soon(sender.send, identify(str(number)), parts.batch())
        now_us = parts.clock.now_us()

        def housekeeper(*, later_us: int, max_requests: int) -> Housekeeper:
            return Housekeeper(
                parts.store.requests,
                parts.store.quarantine,
                parts.store.incidents,
                lambda: now_us + later_us,
                metrics,
                request_horizon_us=HORIZON_US,
                max_requests=max_requests,
                quarantine_retention_us=HORIZON_US,
                history_until_us=lambda: 0,
            )

        await housekeeper(later_us=0, max_requests=2000).prune()
        assert remembered(parts) == 1200
        await housekeeper(later_us=0, max_requests=1150).prune()
        assert remembered(parts) == 1150
        assert metrics.request_keys_forgotten._value.get() == 50
        await housekeeper(later_us=HORIZON_US + SECOND, max_requests=2000).prune()
        assert remembered(parts) == 0
        assert metrics.request_keys_forgotten._value.get() == 50
