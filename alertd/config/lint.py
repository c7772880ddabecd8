"""What a configuration says that works, and is most likely not meant.

Owns *warnings*: they are told, with their place, by ``alertd check``, at a start and by a reload,
and refuse nothing. What most go by are all rules, those made over HTTP too: so they are made when
somebody asks, not while the files are read. As long as there is no rule at all nothing is said of
what has to do with rules. Leaves to ``channels/rule_warnings.py`` what one rule can have of them,
and to ``notify/matchers.py`` what matchers can match.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from alertd.channels.config import (
    AlertmanagerConfig,
    ChannelConfig,
    EmailConfig,
    SlackConfig,
    WebhookConfig,
)
from alertd.channels.forbidden import LOOPBACK, forbidden_kind_of_url
from alertd.channels.rule_warnings import NOBODY, rule_warnings
from alertd.channels.shown_labels import labels_of_channels, listed
from alertd.channels.wording import clip
from alertd.config.document import Document
from alertd.config.errors import ConfigProblem
from alertd.config.places import KeyPath
from alertd.config.rules import in_snake_case, rule_tables
from alertd.config.settings import Config, included_files, read
from alertd.notify.matchers import Reach, doubts, matcher_problem
from alertd.notify.settings import unreached_routes
from alertd.rule_checks import EMAIL, RuleSetting
from alertd.rules import RuleSpec, parse_matchers

_SUBJECTS: Final = frozenset({"ruleName", "severity"})
"""What every incident has beside the labels of its group."""


class Examined(Struct, frozen=True):
    """A configuration without mistakes, and the files that it was read from."""

    config: Config
    documents: Sequence[Document]

    def warnings(self, others: Iterable[RuleSpec] = ()) -> list[ConfigProblem]:
        """Return what is most likely not meant, by file and line.

        ``others`` are the rules made over HTTP. Cost: a look at each rule for each matcher that
        few rules meet, each route whose channels' templates show labels, and each inhibition with
        ``equal``.
        """
        specs = [*(rule.spec for rule in self.config.rules), *others]
        found = [*self._in_rules(), *self._in_matchers(), *self._without_effect(), *self._twice()]
        found += [*self._untold(), *self._links_elsewhere()]
        if specs:
            found += self._of_matchers(specs)
            found += self._on_routes(specs)
            found += self._of_equal_labels(specs)
            found += self._of_grouping(specs)
            found += self._idle_channels(specs)
        order = {document.path: place for place, document in enumerate(self.documents)}
        return sorted(found, key=lambda warning: (order[warning.file], warning.line or 0))

    def _in_rules(self) -> Iterator[ConfigProblem]:
        setting = RuleSetting(
            labels_of_channels=labels_of_channels(self.config.channels),
            allow_private_endpoints=self.config.notify.allow_private_endpoints,
        )
        tables = rule_tables(self.documents)
        for rule, (document, path, table) in zip(self.config.rules, tables, strict=True):
            found = in_snake_case(rule_warnings(rule.spec, setting))
            yield from document.placed(path, table, found)

    def _untold(self) -> Iterator[ConfigProblem]:
        """Yield the first rule that tells nobody, with the number of the others.

        Rules that only record are told of once: it may well be meant.
        """
        tells_somebody = self.config.tells_somebody()
        rules = zip(self.config.rules, rule_tables(self.documents), strict=True)
        untold = [place for rule, place in rules if not tells_somebody(rule.spec)]
        if untold:
            document, path, _ = untold[0]
            others = f" (and so of {len(untold) - 1} more)" if untold[1:] else ""
            yield document.problem((*path, "notifications"), f"{NOBODY}{others}")

    def _links_elsewhere(self) -> Iterator[ConfigProblem]:
        """Yield the first channel that carries links which only lead anywhere on this machine."""
        server = self.config.server
        if server.public_url is not None or not server.is_loopback:
            return
        for document in self.documents:
            for name in document.table.get("channels", {}):
                if _is_elsewhere(self.config.channels[name]):
                    message = (
                        f"is not on this machine, and links in its messages begin with "
                        f"{server.base_url}, which leads nowhere there: set server.public_url"
                    )
                    yield document.problem(("channels", name), message)
                    return

    def _in_matchers(self) -> Iterator[ConfigProblem]:
        """Yield matchers that cannot be meant, whatever the rules."""
        for path, matchers in self._all_matchers():
            for label, message in _wrong(matchers):
                yield self.documents[0].problem((*path, label), message)

    def _without_effect(self) -> Iterator[ConfigProblem]:
        """Yield what does nothing, or more than it looks like, whatever the rules."""
        document, routes = self.documents[0], self.config.route
        for index, pattern in enumerate(self.config.include):
            if not included_files(document.path.parent, (pattern,)):
                yield document.problem(("include", index), f"no file matches {pattern!r}")
        for index, mute in enumerate(self.config.mute):
            if mute.start == mute.end:
                message = (
                    f"is also when it starts, so it holds for 24 hours, to {mute.end} on the next "
                    'day; for a whole day write start = "00:00", end = "24:00"'
                )
                yield document.problem(("mute", index, "end"), message)
        for index, problem in unreached_routes(routes):
            if not any(_wrong(routes[index].matchers)):
                yield document.problem(("route", index, "matchers"), problem.message)
        for index, inhibit in enumerate(self.config.inhibit):
            if not any(_wrong(inhibit.target)) and inhibit.holds_nothing_back():
                message = (
                    "holds nothing back: what it matches is a source as well, and sources are "
                    "never held back"
                )
                yield document.problem(("inhibit", index, "target"), message)

    def _twice(self) -> Iterator[ConfigProblem]:
        """Yield what a list of names, addresses or the like has already."""
        for document in self.documents:
            for path, items in _lists(document.table):
                for index, item in _repeats(items):
                    yield document.problem((*path, index), f"{clip(item, 100)!r} is there twice")

    def _of_matchers(self, specs: Sequence[RuleSpec]) -> Iterator[ConfigProblem]:
        for path, matchers in self._all_matchers():
            if any(_wrong(matchers)):
                continue  # told already
            problem = Reach(parse_matchers(matchers)).problem(specs)
            if problem is not None:
                label, message = problem
                where = path if label is None else (*path, label)
                yield self.documents[0].problem(where, message)

    def _all_matchers(self) -> Iterator[tuple[KeyPath, Mapping[str, str]]]:
        """Yield whatever chooses incidents, and where it stands."""
        for index, route in enumerate(self.config.route):
            yield ("route", index, "matchers"), route.matchers
        for index, mute in enumerate(self.config.mute):
            yield ("mute", index, "matchers"), mute.matchers
        for index, inhibit in enumerate(self.config.inhibit):
            yield ("inhibit", index, "source"), inhibit.source
            yield ("inhibit", index, "target"), inhibit.target

    def _on_routes(self, specs: Sequence[RuleSpec]) -> Iterator[ConfigProblem]:
        """Yield labels that a route's channels show in templates and that nothing there has."""
        shown = labels_of_channels(self.config.channels)
        for index, route in enumerate(self.config.route):
            if shown.keys().isdisjoint((*route.channels, *route.escalate_to)):
                continue  # it would be a look at all rules for nothing
            reach = Reach(parse_matchers(route.matchers))
            taking = [spec.group_by for spec in filter(reach.includes, specs)]
            for key, names in (("channels", route.channels), ("escalate_to", route.escalate_to)):
                for place, name in enumerate(names):
                    missing = shown.get(name, frozenset()).difference(*taking)
                    if taking and missing:
                        message = (
                            f"the templates of {name!r} show {listed(missing)}, and no rule "
                            "whose incidents come here groups by that: it is always empty"
                        )
                        yield self.documents[0].problem(("route", index, key, place), message)

    def _of_equal_labels(self, specs: Sequence[RuleSpec]) -> Iterator[ConfigProblem]:
        """Yield labels by which an inhibition tells nothing apart, or all."""
        for index, inhibit in enumerate(self.config.inhibit):
            if not inhibit.equal:
                continue
            sides = [
                [spec.group_by for spec in filter(Reach(parse_matchers(side)).includes, specs)]
                for side in (inhibit.source, inhibit.target)
            ]
            for place, label in enumerate(inhibit.equal):
                message = _of_equal(label, sides)
                if message is not None:
                    yield self.documents[0].problem(("inhibit", index, "equal", place), message)

    def _of_grouping(self, specs: Sequence[RuleSpec]) -> Iterator[ConfigProblem]:
        """Yield labels by which messages are grouped, and that no incident has."""
        known = _SUBJECTS.union(*(spec.group_by for spec in specs))
        lists: list[tuple[KeyPath, Sequence[str]]] = [(("notify",), self.config.notify.group_by)]
        for index, route in enumerate(self.config.route):
            lists.append((("route", index), route.group_by or ()))
        for path, labels in lists:
            for place, label in enumerate(labels):
                if label not in known:
                    message = f"no rule groups by {label!r}: it tells no messages apart"
                    yield self.documents[0].problem((*path, "group_by", place), message)

    def _idle_channels(self, specs: Sequence[RuleSpec]) -> Iterator[ConfigProblem]:
        config = self.config
        named = {target.channel for spec in specs for target in spec.targets}
        for route in config.route:
            named.update(route.channels, route.escalate_to)
        for channel in config.channels.values():
            named.update(channel.escalate_to)
        if EMAIL in named:  # sent by the first that has a mail server
            mail = (name for name, c in config.channels.items() if isinstance(c, EmailConfig))
            named.update(list(mail)[:1])
        for document in self.documents:
            for name in document.table.get("channels", {}).keys() - named:
                message = "no rule, route or channel names it: nobody is told anything over it"
                yield document.problem(("channels", name), message)


def _is_elsewhere(channel: ChannelConfig) -> bool:
    """Return whether ``channel`` names a receiver that is not on this machine."""
    match channel:
        case WebhookConfig() | AlertmanagerConfig():
            return forbidden_kind_of_url(channel.url) != LOOPBACK
        case EmailConfig():
            return forbidden_kind_of_url(f"smtp://{channel.host}") != LOOPBACK
        case SlackConfig():
            return forbidden_kind_of_url(channel.url or channel.api_url) != LOOPBACK
    return False  # Apprise: the address says it, and is in a file


def _of_equal(label: str, sides: Sequence[Sequence[Collection[str]]]) -> str | None:
    """Return what is odd about ``label``; ``sides`` are what the rules of either side group by."""
    with_it = sum(any(label in group_by for group_by in side) for side in sides)
    if label in _SUBJECTS or with_it == len(sides) or not all(sides):
        return None
    if with_it:
        return f"only the rules of one side group by {label!r}: it is not equal"
    return f"no rule that it is about groups by {label!r}: it tells nothing apart"


def _lists(value: object, path: KeyPath = ()) -> Iterator[tuple[KeyPath, list[object]]]:
    """Yield every list in a table of a file, and where it stands."""
    entries: Iterable[tuple[str | int, object]] = ()
    if isinstance(value, dict):
        entries = value.items()
    elif isinstance(value, list):
        yield path, value
        entries = enumerate(value)
    for key, entry in entries:
        yield from _lists(entry, (*path, key))


def _repeats(items: Iterable[object]) -> Iterator[tuple[int, str]]:
    """Yield each text of a list that stands there before, and its place."""
    seen: set[str] = set()
    for index, item in enumerate(items):
        if isinstance(item, str):
            if item in seen:
                yield index, item
            seen.add(item)


def _wrong(matchers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the labels of matchers that cannot be meant, each with the reason.

    They are on what no incident can have, or take literally what looks like something else.
    """
    parsed = parse_matchers(matchers)
    for matcher in parsed:
        message = matcher_problem(matcher)
        if message is not None:
            yield matcher.label, message
    yield from doubts(parsed)


def examine(path: Path, environ: Mapping[str, str] = os.environ) -> Examined:
    """Return the configuration at ``path``, to be asked for warnings. Raises as ``read`` does."""
    return Examined(*read(path, environ))
