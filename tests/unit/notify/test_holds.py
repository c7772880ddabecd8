"""The decision tables of what holds a notification back: silences, mute schedules, inhibition."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from alertd.model import US_PER_S
from alertd.notify.flapping import FlappingLimits
from alertd.notify.matchers import subject_labels
from alertd.notify.policy import Policy
from alertd.notify.settings import InhibitSpec, MuteSpec
from alertd.notify.silence import ActiveSilence, Silence, silence_problems, silenced
from alertd.outbound import HoldReason
from alertd.rules import parse_matcher

NOW = 1_750_000_000 * US_PER_S
S = US_PER_S
HOST = subject_labels("Host down", "warning", {"dc": "eu", "host": "web-1"})


def silence(own_id: str = "s", starts_s: int = -10, ends_s: int = 10, **matchers: str) -> Silence:
    return Silence(
        id=own_id,
        matchers=tuple(parse_matcher(label, text) for label, text in matchers.items()),
        starts_us=NOW + starts_s * S,
        ends_us=NOW + ends_s * S,
        created_us=NOW,
        created_by="ann",
        comment="deploy",
    )


SILENCES = [
    # matchers, start and end in seconds from now, whether it holds
    ({"host": "web-1"}, -10, 10, True),
    ({"host": "web-2"}, -10, 10, False),
    ({"host": "=~web-.*", "ruleName": "Host down"}, -10, 10, True),
    ({"host": "=~web-.*", "ruleName": "other"}, -10, 10, False),
    ({"host": "!=web-1"}, -10, 10, False),
    ({"severity": "!~critical|error"}, -10, 10, True),
    ({"absent": ""}, -10, 10, True),
    ({"host": "web-1"}, 0, 1, True),
    ({"host": "web-1"}, 1, 10, False),
    ({"host": "web-1"}, -10, 0, False),
]


@pytest.mark.parametrize(("matchers", "starts_s", "ends_s", "holds"), SILENCES)
def test_a_silence_holds_what_it_matches_from_its_start_until_before_its_end(
    matchers: dict[str, str], starts_s: int, ends_s: int, holds: bool
) -> None:
    found = silenced([ActiveSilence(silence("s", starts_s, ends_s, **matchers))], HOST, NOW)
    assert (found is not None) is holds
    if found is not None:
        assert (found.reason, found.ref) == (HoldReason.SILENCED, "s")
        assert (found.until_us, found.detail) == (NOW + ends_s * S, "silence s by ann: deploy")


def test_of_several_silences_the_one_that_ends_last_holds() -> None:
    several = [
        ActiveSilence(silence(own_id, ends_s=ends_s, host="web-1"))
        for own_id, ends_s in (("a", 5), ("b", 50), ("c", 20))
    ]
    found = silenced(several, HOST, NOW)
    assert found is not None
    assert found.ref == "b"


def test_a_silence_of_nothing_or_of_the_past_or_of_no_pattern_is_refused() -> None:
    def paths(wrong: Silence) -> list[str]:
        return [problem.path for problem in silence_problems(wrong, NOW)]

    assert paths(silence(host="web-1")) == []
    assert paths(silence()) == ["/matchers"]
    assert paths(silence(ends_s=0, host="a")) == ["/endsAt"]
    assert paths(silence(starts_s=20, ends_s=10, host="a")) == ["/endsAt"]
    assert paths(silence(host="=~(")) == ["/matchers/host"]


BERLIN = {"name": "nights", "start": "22:00", "end": "06:00", "time_zone": "Europe/Berlin"}


def wall(text: str, zone: str = "Europe/Berlin", fold: int = 0) -> int:
    moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)
    return round(moment.timestamp()) * S


MUTES = [
    # schedule, now and end on the wall (None: not muted)
    (BERLIN, "2026-11-25 21:59:59", None),
    (BERLIN, "2026-11-25 22:00:00", "2026-11-26 06:00"),
    (BERLIN, "2026-11-26 03:00:00", "2026-11-26 06:00"),
    (BERLIN, "2026-11-26 05:59:59", "2026-11-26 06:00"),
    (BERLIN, "2026-11-26 06:00:00", None),
    # summer time begins at 02:00 on 2026-03-29 and ends at 03:00 on 2026-10-25
    (BERLIN, "2026-03-29 00:30:00", "2026-03-29 06:00"),
    (BERLIN, "2026-03-29 05:59:59", "2026-03-29 06:00"),
    (BERLIN, "2026-03-29 06:00:00", None),
    (BERLIN, "2026-10-24 23:00:00", "2026-10-25 06:00"),
    (BERLIN, "2026-10-25 06:00:00", None),
    # a day is named by the evening on which it begins: Friday night reaches into Saturday
    (BERLIN | {"weekdays": ("fri",)}, "2026-11-27 23:00:00", "2026-11-28 06:00"),
    (BERLIN | {"weekdays": ("fri",)}, "2026-11-28 05:00:00", "2026-11-28 06:00"),
    (BERLIN | {"weekdays": ("fri",)}, "2026-11-28 23:00:00", None),
    (BERLIN | {"weekdays": ("sat",)}, "2026-11-28 05:00:00", None),
    # a whole day, and one that ends at midnight
    (BERLIN | {"start": "00:00", "end": "24:00"}, "2026-11-25 12:00:00", "2026-11-26 00:00"),
    (BERLIN | {"start": "00:00", "end": "00:00"}, "2026-11-25 12:00:00", "2026-11-26 00:00"),
    (BERLIN | {"start": "09:00", "end": "17:00"}, "2026-11-25 12:00:00", "2026-11-25 17:00"),
    (BERLIN | {"start": "09:00", "end": "17:00"}, "2026-11-25 17:00:00", None),
]


@pytest.mark.parametrize(("spec", "now", "end"), MUTES)
def test_a_mute_schedule_follows_the_clock_on_the_wall(
    spec: dict[str, str], now: str, end: str | None
) -> None:
    mute = MuteSpec(**spec).compiled()  # type: ignore[arg-type]  # a table of fields
    assert mute.until_us(wall(now)) == (None if end is None else wall(end))


def test_a_night_is_an_hour_shorter_when_summer_time_begins_and_longer_when_it_ends() -> None:
    mute = MuteSpec(**BERLIN).compiled()  # type: ignore[arg-type]  # a table of fields

    def hours(begin: str) -> float:
        until_us = mute.until_us(wall(begin))
        assert until_us is not None
        return (until_us - wall(begin)) / (3600 * S)

    assert hours("2026-03-28 22:00:00") == 7
    assert hours("2026-10-24 22:00:00") == 9
    assert hours("2026-11-25 22:00:00") == 8


def test_in_the_hour_that_comes_twice_a_schedule_begins_the_first_time() -> None:
    spec = BERLIN | {"start": "02:30", "end": "02:45"}
    mute = MuteSpec(**spec).compiled()  # type: ignore[arg-type]  # a table of fields
    assert mute.until_us(wall("2026-10-25 02:40:00", fold=0)) == wall("2026-10-25 02:45")
    assert mute.until_us(wall("2026-10-25 02:40:00", fold=1)) is None


def test_in_the_hour_that_is_left_out_a_schedule_begins_and_ends_as_if_it_were_there() -> None:
    """On 2026-03-29 the clock goes from 02:00 to 03:00; it is never 02:30 there."""
    begins = MuteSpec(**BERLIN | {"start": "02:30", "end": "05:00"}).compiled()  # type: ignore[arg-type]
    assert begins.until_us(wall("2026-03-29 01:59:59")) is None
    assert begins.until_us(wall("2026-03-29 03:29:59")) is None
    assert begins.until_us(wall("2026-03-29 03:30:00")) == wall("2026-03-29 05:00")
    ends = MuteSpec(**BERLIN | {"start": "00:00", "end": "02:30"}).compiled()  # type: ignore[arg-type]
    assert ends.until_us(wall("2026-03-29 01:00:00")) == wall("2026-03-29 03:30")
    assert ends.until_us(wall("2026-03-29 03:30:00")) is None


@pytest.mark.parametrize(
    ("zone", "begin", "hours"),
    [
        ("Australia/Lord_Howe", "2026-04-04 22:00", 8.5),  # its summer time is half an hour
        ("America/New_York", "2026-03-07 22:00", 7),
        ("Asia/Kolkata", "2026-03-28 22:00", 8),
    ],
)
def test_summer_time_is_that_of_the_zone(zone: str, begin: str, hours: float) -> None:
    mute = MuteSpec(**BERLIN | {"time_zone": zone}).compiled()  # type: ignore[arg-type]
    until_us = mute.until_us(wall(begin, zone))
    assert until_us is not None
    assert until_us - wall(begin, zone) == hours * 3600 * S


def test_a_mute_schedule_holds_only_what_it_matches() -> None:
    spec = MuteSpec(**BERLIN, matchers={"severity": "=~warning|info"})  # type: ignore[arg-type]
    policy = Policy([spec.compiled()])
    night_us = wall("2026-11-25 23:00:00")
    found = policy.hold("i", HOST, night_us)
    assert found is not None
    assert (found.reason, found.ref) == (HoldReason.MUTED, "nights")
    assert "2026-11-26 05:00 UTC" in found.detail
    assert policy.hold("i", HOST | {"severity": "critical"}, night_us) is None


DATA_CENTRE = InhibitSpec(
    source={"ruleName": "Data centre down"},
    target={"ruleName": "=~Host.*|Data.*"},
    equal=("dc",),
)


def source(dc: str) -> dict[str, str]:
    return subject_labels("Data centre down", "critical", {"dc": dc})


def test_while_a_source_is_on_its_targets_wait_and_no_others() -> None:
    policy = Policy(inhibitions=[DATA_CENTRE.compiled()])
    assert policy.hold("host", HOST, NOW) is None
    policy.sources.begin("dc-eu", source("eu"))
    found = policy.hold("host", HOST, NOW)
    assert found is not None
    assert (found.reason, found.ref) == (HoldReason.INHIBITED, "dc-eu")
    assert found.detail == "incident dc-eu of 'Data centre down', which explains it, is on"
    assert policy.hold("host", HOST | {"dc": "us"}, NOW) is None
    assert policy.hold("host", HOST | {"ruleName": "Disk full"}, NOW) is None
    policy.sources.begin("dc-eu-2", source("eu"))
    assert policy.sources.end("dc-eu")
    found = policy.hold("host", HOST, NOW)
    assert found is not None
    assert found.ref == "dc-eu-2"
    assert policy.sources.end("dc-eu-2")
    assert policy.hold("host", HOST, NOW) is None
    assert not policy.sources.end("dc-eu-2")


def test_a_source_ends_also_if_it_goes_by_other_labels_by_then() -> None:
    """Somebody may have edited its rule meanwhile."""
    policy = Policy(inhibitions=[DATA_CENTRE.compiled()])
    policy.sources.begin("dc", source("eu"))
    policy.sources.begin("dc", source("eu") | {"ruleName": "Centre down"})
    assert policy.hold("host", HOST, NOW) is None
    policy.sources.begin("dc", source("eu"))
    assert policy.hold("host", HOST, NOW) is not None
    assert policy.sources.end("dc")
    assert policy.hold("host", HOST, NOW) is None


def test_other_inhibitions_know_of_what_began_before_them() -> None:
    policy = Policy()
    policy.sources.begin("dc-eu", source("eu"))
    policy.sources.begin("dc-us", source("us"))
    assert policy.sources.end("dc-us") is False
    policy.use((), [DATA_CENTRE.compiled()], FlappingLimits())
    assert policy.hold("host", HOST, NOW) is not None
    assert policy.hold("host", HOST | {"dc": "us"}, NOW) is None
    policy.use((), (), FlappingLimits())
    assert policy.hold("host", HOST, NOW) is None


def test_a_source_does_not_wait_for_itself_or_its_equals() -> None:
    policy = Policy(inhibitions=[DATA_CENTRE.compiled()])
    policy.sources.begin("a", source("eu"))
    policy.sources.begin("b", source("eu"))
    assert policy.hold("a", source("eu"), NOW) is None
    assert policy.hold("b", source("eu"), NOW) is None


def test_the_reasons_are_asked_in_their_order() -> None:
    nights = MuteSpec(**BERLIN)  # type: ignore[arg-type]  # a table of fields
    policy = Policy([nights.compiled()], [DATA_CENTRE.compiled()])
    now_us = wall("2026-11-25 23:00:00")

    def reason() -> HoldReason:
        found = policy.hold("host", HOST, now_us)
        assert found is not None
        return found.reason

    assert reason() is HoldReason.MUTED
    policy.put_silence(
        Silence(
            id="s",
            matchers=(parse_matcher("host", "web-1"),),
            starts_us=now_us,
            ends_us=now_us + S,
            created_us=now_us,
            created_by="",
            comment="",
        )
    )
    assert reason() is HoldReason.SILENCED
    policy.sources.begin("dc", source("eu"))
    assert reason() is HoldReason.INHIBITED
    assert policy.forget_silences(now_us) == []
    assert [one.id for one in policy.forget_silences(now_us + S)] == ["s"]
