"""Reloading, on real files, a real store and real channels."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
import trio.testing
from msgspec import structs
from structlog.testing import capture_logs

from alertd.config.errors import ConfigConflict, ConfigError, ConfigProblem
from alertd.config.files import ConfigFiles
from alertd.config.lint import Examined, examine
from alertd.config.settings import Config
from alertd.delivery.live_channels import LiveChannels
from alertd.errors import AlertdError, Conflict, Overloaded, StoreUnavailable
from alertd.http.gate import Gate
from alertd.metrics import Metrics
from alertd.model import Target
from alertd.reload import MAX_MISTAKES, MAX_WARNINGS, REST_PER_LOOK, Reloader
from alertd.reports import Changes, ReloadRefusal, Warned
from alertd.rule_checks import RuleSetting
from alertd.rulebook import RuleBook
from alertd.rules import RuleSpec, Source
from alertd.tls import Tls
from tests.unit.parts import Parts, record_of, running

RULE = """
[[rules]]
name = "{name}"
type = "SIMPLE_COUNT"
metric_name = "m"
threshold = {threshold}
window_duration_secs = 60
"""
CHANNEL = """
[channels.{name}]
type = "webhook"
url = "{url}"
"""
TOLD = 'notifications = [{channel = "SLACK", endpoint = "https://hooks.example/x"}]\n'
LOOPBACK = "127.0.0.1:9470"
NOTHING = Changes((), (), ())


def rule(name: str, threshold: object = 1) -> str:
    return RULE.format(name=name, threshold=threshold)


def channel(name: str, url: str = "http://127.0.0.1:9/hook") -> str:
    return CHANNEL.format(name=name, url=url)


@dataclass
class World:
    """A reloader, and what it changes."""

    folder: Path
    reloader: Reloader
    rules: RuleBook
    channels: LiveChannels
    gate: Gate
    parts: Parts
    used: list[Config]
    """Every configuration by which people were to be told."""

    def write(self, text: str, name: str = "alertd.toml") -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def refused(self) -> ReloadRefusal | None:
        """Return what the last reload was refused for."""
        return self.reloader.configuration.refused

    def thresholds(self) -> dict[str, float]:
        """Return the threshold of each rule by its name."""
        return {record.spec.name: record.spec.threshold for record in self.rules.all()}


@asynccontextmanager
async def world(folder: Path, text: str, bind: str = LOOPBACK) -> AsyncIterator[World]:
    path = folder / "alertd.toml"
    path.write_text(text, encoding="utf-8")
    config = examine(path).config
    async with running(folder) as parts, trio.open_nursery() as nursery:
        channels = LiveChannels(config.channels, allow_private_endpoints=True)
        nursery.start_soon(channels.run)
        rules = RuleBook(
            await parts.store.rules.all(),
            parts.pipeline,
            parts.clock.now_us,
            lambda: RuleSetting(channels.names()),
            lambda rule_id: {},
        )
        gate = Gate(
            config.auth.tokens,
            Metrics(),
            bind=bind,
            reachable_at=None if bind == LOOPBACK else bind,
        )
        tls, used = Tls(config.server), [config]
        reloader = Reloader(
            path,
            config,
            rules,
            channels,
            gate,
            tls,
            now_us=parts.clock.now_us,
            use_policies=used.append,
        )
        await reloader.start()
        yield World(folder, reloader, rules, channels, gate, parts, used)
        nursery.cancel_scope.cancel()


async def test_a_reload_says_what_came_changed_and_went(tmp_path: Path) -> None:
    before = rule("kept") + rule("edited") + rule("gone") + channel("kept") + channel("edited")
    async with world(tmp_path, before) as w:
        w.write(
            "[store]\nevent_retention_days = 7\n"
            + rule("kept") + rule("edited", 2) + rule("new")
            + channel("kept") + channel("edited", "http://127.0.0.1:9/other") + channel("new")
        )  # fmt: skip
        report = await w.reloader.reload()
        assert report.rules == Changes(("new",), ("edited",), ("gone",))
        assert report.channels == Changes(("new",), ("edited",), ())
        assert report.at_next_start == ("store",)
        assert w.thresholds() == {"kept": 1, "edited": 2, "new": 1}
        assert w.channels.names() == {"kept", "edited", "new"}
        again = await w.reloader.reload()
        assert (again.rules, again.channels) == (NOTHING, NOTHING)
        assert again.at_next_start == ("store",), "it still waits for the next start"


async def test_a_bad_file_changes_nothing_and_every_mistake_is_raised(tmp_path: Path) -> None:
    async with world(tmp_path, rule("a") + channel("ops")) as w:
        w.write(rule("b", '"many"') + rule("c") + "fro_secs = 1\n" + channel("new"))
        with pytest.raises(ConfigError) as caught:
            await w.reloader.reload()
        assert [problem.key for problem in caught.value.problems] == [
            "rules[0].threshold",
            "rules[1].fro_secs",
        ]
        assert w.thresholds() == {"a": 1}
        assert w.channels.names() == {"ops"}


POLICIES = """
[notify]
group_interval_secs = 3
allow_private_endpoints = true
[[route]]
channels = ["ops"]
[[mute]]
name = "nights"
start = "22:00"
end = "06:00"
"""


async def test_routes_mutes_and_the_rest_of_them_apply_at_once(tmp_path: Path) -> None:
    async with world(tmp_path, rule("a") + channel("ops")) as w:
        w.write(POLICIES + rule("a") + channel("ops"))
        report = await w.reloader.reload()
        assert report.policies == ("notify", "route", "mute")
        assert report.at_next_start == ()
        assert [route.targets for route in w.used[-1].routes()] == [(Target("ops"),)]
        again = await w.reloader.reload()
        assert again.policies == ()


async def test_a_bad_policy_changes_nothing(tmp_path: Path) -> None:
    async with world(tmp_path, rule("a") + channel("ops")) as w:
        w.write(POLICIES.replace('"ops"', '"opps"') + rule("b") + channel("ops"))
        with pytest.raises(ConfigError, match="'opps' is not a configured channel"):
            await w.reloader.reload()
        assert len(w.used) == 1
        assert w.thresholds() == {"a": 1}


async def test_where_the_store_cannot_take_the_rules_people_are_told_as_before(
    tmp_path: Path,
) -> None:
    async with world(tmp_path, rule("a") + channel("ops")) as w:
        rules = "".join(rule(f"rule {number}") for number in range(500))
        w.write(POLICIES + rules + channel("ops"))
        writer = w.parts.store.writer
        await writer.run("fill", lambda c: c.pragma("max_page_count", c.pragma("page_count")))
        with pytest.raises(StoreUnavailable):
            await w.reloader.reload()
        assert len(w.used) == 3
        assert w.used[-1] == w.used[0]


async def test_a_reload_is_taken_back_however_often_the_store_cannot_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each reload that is taken back leaves channels to be closed, and there is a bound on those.

    The secrets of before may be gone by then, too.
    """
    monkeypatch.setattr("alertd.delivery.live_channels.MAX_RETIRED", 3)
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    signed = f'{channel("ops")}secret_file = "{secret}"\n'
    async with world(tmp_path, rule("a") + signed) as w:
        secret.unlink()
        rules = "".join(rule(f"rule {number}") for number in range(500))
        w.write(rules + channel("new"))
        writer = w.parts.store.writer
        await writer.run("fill", lambda c: c.pragma("max_page_count", c.pragma("page_count")))
        for failure in (StoreUnavailable, StoreUnavailable, StoreUnavailable, Overloaded):
            with pytest.raises(failure):
                await w.reloader.reload()
            assert w.channels.names() == {"ops"}
            assert w.used[-1] == w.used[0]


async def test_a_name_that_belongs_to_a_rule_over_http_changes_nothing(tmp_path: Path) -> None:
    async with world(tmp_path, rule("a")) as w:
        await w.rules.create(record_of(name="taken").spec)
        w.write(rule("taken") + channel("new"))
        with pytest.raises(Conflict, match="taken"):
            await w.reloader.reload()
        assert set(w.thresholds()) == {"a", "taken"}
        assert w.channels.names() == frozenset()


async def test_a_reload_names_every_name_that_belongs_to_a_rule_over_http(tmp_path: Path) -> None:
    async with world(tmp_path, rule("a")) as w:
        owners = [(await w.rules.create(record_of(name=name).spec)).id for name in ("b", "c")]
        w.write(rule("b") + rule("c"))
        with pytest.raises(ConfigConflict) as caught, capture_logs() as lines:
            await w.reloader.reload()
        assert [problem.line for problem in caught.value.problems] == [2, 9]
        for owner, problem in zip(owners, caught.value.problems, strict=True):
            assert f"DELETE /api/alerts/{owner}" in problem.message
        told = [line["problem"] for line in lines if line["log_level"] == "error"]
        assert told == [str(problem) for problem in caught.value.problems]


async def test_a_file_refused_for_names_is_tried_again_when_all_of_them_are_free(
    tmp_path: Path,
) -> None:
    async with world(tmp_path, rule("a")) as w:
        b, c = [await w.rules.create(record_of(name=name).spec) for name in ("b", "c")]
        w.write(rule("b", 7) + rule("c", 8))
        with capture_logs() as lines:
            for _ in range(4):
                await w.reloader.look()
            await w.rules.delete(b.id, if_version=None)
            await w.reloader.look()
            assert set(w.thresholds()) == {"a", "c"}
            await w.rules.replace(c.id, record_of(name="d").spec, if_version=None)
            await w.reloader.look()
            assert w.thresholds() == {"b": 7, "c": 8, "d": 2}
            await w.reloader.look()
        refusals = [line for line in lines if line["log_level"] == "error"]
        assert len(refusals) == 2, "one for each name, once"
        assert sum(line["event"] == "configuration applied" for line in lines) == 1


async def test_a_file_refused_for_a_name_waits_for_a_store_that_cannot_write(
    tmp_path: Path,
) -> None:
    async with world(tmp_path, rule("a")) as w:
        owner = await w.rules.create(record_of(name="rule 0").spec)
        w.write("".join(rule(f"rule {number}") for number in range(500)))
        await looks(w, 3)
        await w.rules.delete(owner.id, if_version=None)
        writer = w.parts.store.writer
        await writer.run("fill", lambda c: c.pragma("max_page_count", c.pragma("page_count")))
        await looks(w, 2)
        assert set(w.thresholds()) == {"a"}
        await writer.run("free", lambda c: c.pragma("max_page_count", 1 << 30))
        await looks(w, 1)
        assert len(w.thresholds()) == 500


@asynccontextmanager
async def started_with_a_clash(folder: Path) -> AsyncIterator[tuple[World, str]]:
    """Start on a file with the name of a rule made over HTTP; yield that one's id as well."""
    async with world(folder, rule("a")) as w:
        made = await w.rules.create(record_of(name="taken").spec)
    async with world(folder, rule("a", 7) + rule("taken", 8) + rule("b", 9)) as w:
        yield w, made.id


async def test_a_start_leaves_out_a_rule_whose_name_is_taken_and_has_all_others(
    tmp_path: Path,
) -> None:
    with capture_logs() as lines:
        async with started_with_a_clash(tmp_path) as (w, owner):
            assert w.thresholds() == {"a": 7, "taken": 2, "b": 9}
            assert w.rules.get(owner).source is Source.API
            [(left_out, problem)] = w.rules.left_out()
            assert (left_out.spec.threshold, problem.line) == (8, 9)
            with pytest.raises(ConfigConflict):
                await w.reloader.reload()
            assert len(w.rules.left_out()) == 1, "a refused reload changes nothing"
    errors = [line for line in lines if line["log_level"] == "error"]
    assert errors[0]["event"] == "a rule of a file is left out: it is not judged"
    assert owner in errors[0]["problem"]


@pytest.mark.parametrize("way", ["delete", "rename"])
async def test_a_rule_that_was_left_out_comes_in_when_its_name_is_free(
    tmp_path: Path, way: str
) -> None:
    async with started_with_a_clash(tmp_path) as (w, owner):
        if way == "delete":
            await w.rules.delete(owner, if_version=None)
        else:
            await w.rules.replace(owner, record_of(name="other").spec, if_version=None)
        others = {} if way == "delete" else {"other": 2}
        assert w.thresholds() == {"a": 7, "taken": 8, "b": 9, **others}
        stored = await w.parts.store.rules.all()
        assert {record.spec.name: record.spec.threshold for record in stored} == w.thresholds()
        assert w.rules.left_out() == []
        [taken] = [record for record in w.rules.all() if record.spec.name == "taken"]
        assert taken.source is Source.TOML
        with pytest.raises(Conflict, match=r"stands in .*alertd\.toml:9"):
            await w.rules.delete(taken.id, if_version=None)
        assert (await w.reloader.reload()).rules == NOTHING


async def test_an_edit_that_keeps_its_name_leaves_a_rule_of_a_file_out(tmp_path: Path) -> None:
    async with started_with_a_clash(tmp_path) as (w, owner):
        await w.rules.replace(owner, record_of(name="taken", threshold=3).spec, if_version=None)
        assert w.thresholds() == {"a": 7, "taken": 3, "b": 9}
        assert len(w.rules.left_out()) == 1


async def test_a_store_that_cannot_write_changes_nothing(tmp_path: Path) -> None:
    async with world(tmp_path, rule("a") + channel("ops")) as w:
        w.write("".join(rule(f"rule {number}") for number in range(500)) + channel("new"))
        writer = w.parts.store.writer
        await writer.run("fill", lambda c: c.pragma("max_page_count", c.pragma("page_count")))
        with pytest.raises(StoreUnavailable):
            await w.reloader.reload()
        assert w.thresholds() == {"a": 1}
        assert w.channels.names() == {"ops"}
        assert await looks(w, 3) == 2, "the files are good, so they are tried again"
        await writer.run("free", lambda c: c.pragma("max_page_count", 1 << 30))
        assert await looks(w, 1) == 1
        assert len(w.thresholds()) == 500
        assert await looks(w, 3) == 0


async def test_a_client_that_leaves_gets_a_whole_reload_or_none(tmp_path: Path) -> None:
    async with world(tmp_path, "") as w:
        for attempt in range(12):
            w.write(rule("a", attempt) + channel(f"channel-{attempt}"))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(w.reloader.reload)
                for _ in range(attempt):  # leave at another moment each time
                    await trio.sleep(0.001)
                nursery.cancel_scope.cancel()
            is_new = w.channels.names() == {f"channel-{attempt}"}
            assert (w.thresholds().get("a") == attempt) == is_new
            assert await looks(w, 2) == (not is_new), "what was not applied is, by the watcher"
            assert w.thresholds() == {"a": attempt}


async def test_reloads_run_one_at_a_time(tmp_path: Path) -> None:
    async with world(tmp_path, "") as w:
        w.write(rule("a"))
        added = []

        async def reload() -> None:
            added.append((await w.reloader.reload()).rules.added)

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(reload)
        assert sorted(added) == [(), (), (), (), ("a",)]
        (record,) = w.rules.all()
        assert (record.version, record.source) == (1, Source.TOML)


# A change on disk. ``look`` is what happens every two seconds.


async def looks(w: World, count: int) -> int:
    """Look ``count`` times; return how many reloads were begun."""
    with capture_logs() as lines:
        for _ in range(count):
            await w.reloader.look()
    return sum(line["event"] == "configuration changed on disk" for line in lines)


async def test_a_changed_file_is_reloaded_once_it_has_settled(tmp_path: Path) -> None:
    async with world(tmp_path, rule("a")) as w:
        assert await looks(w, 3) == 0
        w.write(rule("a") + "[[rules]]\n")
        assert await looks(w, 1) == 0, "half a file may be all that is there yet"
        w.write(rule("a", 2) + rule("b"))
        assert await looks(w, 1) == 0
        assert w.thresholds() == {"a": 1}
        assert await looks(w, 1) == 1
        assert w.thresholds() == {"a": 2, "b": 1}
        assert await looks(w, 3) == 0


async def test_a_bad_file_is_told_of_once_a_change(tmp_path: Path) -> None:
    async with world(tmp_path, rule("a")) as w:
        for bad in ("x = 1", "y = [1"):
            w.write(bad)
            with capture_logs() as lines:
                for _ in range(5):
                    await w.reloader.look()
            errors = [line for line in lines if line["log_level"] == "error"]
            assert [line["event"] for line in errors] == [
                "configuration not reloaded: nothing was changed"
            ]
            assert w.thresholds() == {"a": 1}
        w.write(rule("a", 2))
        assert await looks(w, 2) == 1
        assert w.thresholds() == {"a": 2}


async def test_included_files_that_come_change_and_go_are_noticed(tmp_path: Path) -> None:
    async with world(tmp_path, 'include = ["*.rules"]' + rule("a")) as w:
        w.write(rule("b"), "b.rules")
        assert await looks(w, 2) == 1
        assert w.thresholds() == {"a": 1, "b": 1}
        w.write(rule("b", 2), "b.rules")
        assert await looks(w, 2) == 1
        assert w.thresholds() == {"a": 1, "b": 2}
        (tmp_path / "b.rules").unlink()
        assert await looks(w, 2) == 1
        assert w.thresholds() == {"a": 1}


async def test_a_mistake_in_a_file_that_was_just_included_can_be_mended_there(
    tmp_path: Path,
) -> None:
    async with world(tmp_path, rule("a")) as w:
        w.write("x = 1", "more.toml")
        w.write('include = ["more.toml"]' + rule("a"))
        assert await looks(w, 3) == 1
        w.write(rule("b"), "more.toml")
        assert await looks(w, 2) == 1
        assert w.thresholds() == {"a": 1, "b": 1}


async def test_a_file_that_is_away_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    async with world(tmp_path, rule("a")) as w:
        (tmp_path / "alertd.toml").rename(tmp_path / "away")
        assert await looks(w, 1) == 0
        (tmp_path / "away").rename(tmp_path / "alertd.toml")
        assert await looks(w, 3) == 0


async def test_an_exchange_by_rename_is_noticed_whatever_the_times_say(tmp_path: Path) -> None:
    async with world(tmp_path, rule("a")) as w:
        was = (tmp_path / "alertd.toml").stat()
        w.write(rule("b"), "new")
        os.utime(tmp_path / "new", ns=(was.st_atime_ns, was.st_mtime_ns))
        (tmp_path / "new").rename(tmp_path / "alertd.toml")
        assert await looks(w, 2) == 1
        assert set(w.thresholds()) == {"b"}


async def test_what_was_reloaded_otherwise_is_not_reloaded_again(tmp_path: Path) -> None:
    async with world(tmp_path, rule("a")) as w:
        w.write(rule("a", 2))
        await w.reloader.reload()
        assert await looks(w, 3) == 0
        w.write("x = 1")
        with pytest.raises(ConfigError):
            await w.reloader.reload()
        assert await looks(w, 3) == 0


@pytest.mark.parametrize("found", ["good", "bad"])
async def test_a_change_while_the_daemon_was_starting_is_noticed(
    tmp_path: Path, found: str
) -> None:
    async with world(tmp_path, rule("a")) as w:
        path = w.folder / "alertd.toml"
        config = examine(path).config
        tls = Tls(config.server)
        restarted = Reloader(
            path,
            config,
            w.rules,
            w.channels,
            w.gate,
            tls,
            now_us=w.parts.clock.now_us,
            use_policies=w.used.append,
        )
        w.write(rule("b") if found == "good" else "x = 1")
        with capture_logs() as lines:
            await restarted.start()
        assert set(w.thresholds()) == {"b" if found == "good" else "a"}
        assert any(line["log_level"] == "error" for line in lines) == (found == "bad")


def test_looking_never_fails(tmp_path: Path) -> None:
    path = tmp_path / "alertd.toml"
    files = ConfigFiles(path)
    assert files.look() == {path: None}
    path.write_bytes(b'include = ["a.toml", "*.none"]\xff')
    assert files.look().keys() == {path}
    path.write_text('include = ["a.toml", "*.none"]')
    assert files.look().keys() == {path}, "a file that is not there has no stamp"
    (tmp_path / "a.toml").touch()
    assert files.look().keys() == {path, tmp_path / "a.toml"}
    path.unlink()
    path.mkdir()
    assert path in files.look()


TOKEN = """
[[auth.tokens]]
name = "{name}"
scopes = ["ingest"]
hash = "sha256:{digit:064}"
"""


async def test_tokens_come_change_and_go(tmp_path: Path) -> None:
    before = TOKEN.format(name="edited", digit=1) + TOKEN.format(name="gone", digit=2)
    async with world(tmp_path, before) as w:
        w.write(TOKEN.format(name="edited", digit=3) + TOKEN.format(name="new", digit=4))
        report = await w.reloader.reload()
        assert report.tokens == Changes(("new",), ("edited",), ("gone",))
        assert w.gate.names() == {"edited", "new"}
        assert report.at_next_start == ()


async def test_the_last_token_cannot_go_from_a_daemon_that_others_reach(tmp_path: Path) -> None:
    server = '[server]\nbind = "0.0.0.0:9470"\n'
    async with world(tmp_path, server + TOKEN.format(name="t", digit=1), "0.0.0.0:9470") as w:
        w.write(channel("new"))
        with pytest.raises(Conflict, match=r"the last of \[\[auth.tokens\]\] cannot go"):
            await w.reloader.reload()
        assert w.gate.names() == {"t"}
        assert w.channels.names() == set()


async def test_a_store_that_cannot_write_leaves_the_tokens_as_they_were(tmp_path: Path) -> None:
    async with world(tmp_path, TOKEN.format(name="t", digit=1)) as w:
        w.write("".join(rule(f"rule {number}") for number in range(500)))
        writer = w.parts.store.writer
        await writer.run("fill", lambda c: c.pragma("max_page_count", c.pragma("page_count")))
        with pytest.raises(StoreUnavailable):
            await w.reloader.reload()
        assert w.gate.names() == {"t"}


async def test_what_is_most_likely_not_meant_is_told_at_start_and_by_a_reload(
    tmp_path: Path,
) -> None:
    text = rule("a") + TOLD + channel("idle")
    with capture_logs() as lines:
        async with world(tmp_path, text) as w:
            told = [line["at"] for line in lines if line["log_level"] == "warning"]
            place = f"{tmp_path}/alertd.toml:10"
            message = (
                "channels.idle: no rule, route or channel names it: nobody is told anything over it"
            )
            assert told == [f"{place}: {message}"]
            at_start = w.reloader.configuration
            assert (at_start.warnings, at_start.warning_count) == ((Warned(place, message),), 1)
            report = await w.reloader.reload()
            assert report.warnings == (Warned(place, message),)
            assert w.reloader.configuration.applied_at > at_start.applied_at
            assert len([line for line in lines if line["log_level"] == "warning"]) == 2
            await w.rules.create(record_of(notifications=(Target("idle"),)).spec)
            assert (await w.reloader.reload()).warnings == (), "rules made over HTTP count"
            assert w.reloader.configuration.warning_count == 0


async def test_a_change_of_rules_over_http_renews_what_is_told_of(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    assert mock_clock.rate == 0, "so no look takes time, and none has to rest"
    with capture_logs() as lines:
        async with world(tmp_path, rule("a") + TOLD + channel("idle") + channel("ops")) as w:
            at_start = w.reloader.configuration
            assert at_start.warning_count == 2
            made = await w.rules.create(record_of(notifications=(Target("idle"),)).spec)
            assert w.reloader.configuration is at_start, "that is for the next look"
            await w.reloader.renew_warnings()
            (warning,) = w.reloader.configuration.warnings
            assert warning.message.startswith("channels.ops: ")
            assert structs.replace(w.reloader.configuration, warnings=(), warning_count=0) == (
                structs.replace(at_start, warnings=(), warning_count=0)
            )
            await w.rules.delete(made.id, if_version=None)
            await w.reloader.renew_warnings()
            assert w.reloader.configuration == at_start
            told = [line["at"] for line in lines if line["log_level"] == "warning"]
    assert [text.split()[1] for text in told] == [
        *("channels.idle:", "channels.ops:"),  # at the start
        "channels.idle:",  # which was not among those told last
    ]


async def test_changes_of_rules_cost_a_small_part_of_the_time_and_the_last_one_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mock_clock: trio.testing.MockClock
) -> None:
    looks: list[int] = []

    def look(_: Examined, others: Iterable[RuleSpec] = ()) -> list[ConfigProblem]:
        looks.append(w.rules.changes)
        trio.from_thread.run_sync(mock_clock.jump, 0.5)
        return []

    async with world(tmp_path, rule("a")) as w:
        monkeypatch.setattr(Examined, "warnings", look)
        began_s = trio.current_time()
        for _ in range(1000):
            w.rules.changes += 1
            await w.reloader.renew_warnings()
            mock_clock.jump(0.1)
        spent_s = len(looks) * 0.5
        assert 1 < spent_s < (trio.current_time() - began_s) / REST_PER_LOOK + 0.5
        for _ in range(3):
            mock_clock.jump(REST_PER_LOOK)
            await w.reloader.renew_warnings()
        assert looks[-1] == w.rules.changes
        assert len(looks) == len(set(looks)), "where nothing has changed, nobody looks"


async def test_what_is_told_of_is_bounded_and_counted_and_stays_when_a_reload_is_refused(
    tmp_path: Path,
) -> None:
    idle = "".join(channel(f"idle-{number}") for number in range(MAX_WARNINGS + 3))
    async with world(tmp_path, rule("a")) as w:
        assert w.reloader.configuration.warning_count == 0
        w.write(rule("a") + TOLD + idle)
        report = await w.reloader.reload()
        assert (len(report.warnings), report.warning_count) == (MAX_WARNINGS, MAX_WARNINGS + 3)
        known = w.reloader.configuration
        assert (known.warnings, known.warning_count) == (report.warnings, report.warning_count)
        w.write("x = 1")
        with pytest.raises(ConfigError):
            await w.reloader.reload()
        at_last = w.reloader.configuration
        assert structs.replace(at_last, refused=None) == known, "it runs on that one"


async def test_what_the_last_reload_was_refused_for_is_known_until_one_is_applied(
    tmp_path: Path,
) -> None:
    async with world(tmp_path, rule("a")) as w:
        assert w.refused() is None
        w.write("foo = 1\n" + rule("a"))
        await w.reloader.look()
        await w.reloader.look()
        refused = w.refused()
        assert refused is not None
        assert refused.at > w.reloader.configuration.applied_at
        ((path, message),) = [(error.path, error.message) for error in refused.errors]
        assert (path, refused.error_count) == (f"{tmp_path}/alertd.toml:1", 1)
        assert message.startswith("foo: ")
        w.write(rule("a"))
        await w.reloader.look()
        await w.reloader.look()
        assert w.refused() is None


async def test_a_reload_that_was_refused_is_known_whoever_asked_and_whatever_was_wrong(
    tmp_path: Path,
) -> None:
    server = '[server]\nbind = "0.0.0.0:9470"\n'
    at_start = server + TOKEN.format(name="t", digit=1)
    async with world(tmp_path, at_start, "0.0.0.0:9470") as w:
        await w.rules.create(record_of(name="taken").spec)
        many = "".join(f"x{number} = 1\n" for number in range(MAX_MISTAKES + 3))
        wrong: list[tuple[str, type[AlertdError], str, str, int]] = [
            (at_start + rule("taken"), ConfigConflict, f"{tmp_path}/alertd.toml:", "taken", 1),
            ("", Conflict, "", "the last of [[auth.tokens]] cannot go", 1),
            (many, ConfigError, f"{tmp_path}/alertd.toml:1", "x0", MAX_MISTAKES + 3),
        ]
        for text, error, path, words, count in wrong:
            w.write(text)
            with pytest.raises(error):
                await w.reloader.reload()
            refused = w.refused()
            assert refused is not None
            assert refused.errors[0].path.startswith(path)
            assert words in refused.errors[0].message
            assert refused.error_count == count
            assert len(refused.errors) == min(count, MAX_MISTAKES)
        w.write(at_start)
        await w.reloader.reload()
        assert w.refused() is None
