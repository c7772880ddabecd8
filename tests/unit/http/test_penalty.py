"""A flood of errors costs those who send it: errors are answered late, good requests are not."""

from __future__ import annotations

import trio
import trio.testing

from alertd.http.penalty import ERRORS_PER_S, MAX_DELAY_S, Penalty
from tests.unit.http.fakes import Site


async def test_errors_now_and_then_wait_for_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    penalty = Penalty()
    for _ in range(500):
        begun_s = trio.current_time()
        await penalty.wait(404)
        assert trio.current_time() == begun_s
        await trio.sleep(1.01 / ERRORS_PER_S)


async def test_a_flood_is_answered_at_the_rate_and_good_answers_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    penalty, clients = Penalty(), 50
    answered = 0

    async def flood() -> None:
        nonlocal answered
        while True:
            await trio.sleep(0.001)
            await penalty.wait(400)
            answered += 1

    with trio.move_on_after(20):
        async with trio.open_nursery() as nursery:
            for _ in range(clients):
                nursery.start_soon(flood)
            await trio.sleep(5)
            for status in (200, 202, 503):
                begun_s = trio.current_time()
                await penalty.wait(status)
                assert trio.current_time() == begun_s
            await trio.sleep_forever()
    assert answered < (ERRORS_PER_S + clients / MAX_DELAY_S) * 20 + ERRORS_PER_S
    begun_s = trio.current_time()
    await penalty.wait(400)
    assert trio.current_time() - begun_s <= MAX_DELAY_S
    await trio.sleep(3)
    begun_s = trio.current_time()
    await penalty.wait(400)
    assert trio.current_time() == begun_s, "it is over when the flood is"


async def test_both_lanes_and_what_is_not_http_wait(
    autojump_clock: trio.testing.MockClock,
) -> None:
    site = Site()
    for _ in range(int(ERRORS_PER_S)):
        await site.penalty.wait(400)
    begun_s = trio.current_time()
    assert (await site.send("GET", "/api/nothing")).status == 404
    after_one_s = trio.current_time()
    assert after_one_s > begun_s
    plain = site.express.recognise(
        b"POST /api/events HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        b"Content-Length: 1\r\n\r\n["
    )
    assert plain is not None
    assert (await site.express.answer(plain, b"[", is_last=False)).startswith(b"HTTP/1.1 400 ")
    assert trio.current_time() > after_one_s
