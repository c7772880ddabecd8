"""The door of every source: what is refused is named by its place, however often it is tried."""

from __future__ import annotations

from array import array

import pytest

from alertd.errors import StoreUnavailable
from alertd.ingest.intake import Draft
from alertd.model import US_PER_S, RefusalReason
from tests.unit.http.fakes import Site

DAY_US = 86_400 * US_PER_S


@pytest.mark.parametrize("indexes", [None, [0, 2, 4, 6]])
async def test_what_becomes_too_old_between_two_attempts_is_named_by_its_place(
    indexes: list[int] | None,
) -> None:
    site = Site()
    intake = site.services.intake
    now_us = intake.now_us()
    oldest_us = now_us - 30 * DAY_US
    times_us = [now_us, oldest_us - 1, oldest_us + 1, now_us + 1]
    draft = Draft(
        series_ids=array("I", [site.registry.resolve("m", {})] * 4),
        times_us=array("q", times_us),
        values=array("d", range(4)),
        indexes=indexes,
    )
    site.log.failure = StoreUnavailable("the disk is full")
    for passed_us in (0, 1, 2):
        with pytest.raises(StoreUnavailable):
            await intake.submit(draft, now_us + passed_us)
    site.log.failure = None
    receipt = await intake.submit(draft, now_us + US_PER_S)
    assert (receipt.accepted, receipt.rejected) == (2, 2)
    places = [1, 2] if indexes is None else [2, 4]
    assert [each.index for each in draft.refused] == places
    assert {each.reason for each in draft.refused} == {RefusalReason.TOO_OLD}
    (batch,) = site.log.batches
    assert list(batch.values) == [0, 3]
