"""The rule book over reloads."""

from __future__ import annotations

from structlog.testing import capture_logs

from alertd.model import Target
from alertd.rule_checks import EMAIL, RuleSetting
from alertd.rulebook import RuleBook
from alertd.rules import RuleRecord
from tests.unit.parts import record_of


class Road:
    """Takes every change."""

    async def change_rules(
        self, *, put: tuple[RuleRecord, ...] = (), deleted: tuple[str, ...] = ()
    ) -> None:
        """Do nothing."""


async def test_a_rule_that_has_lost_its_channel_is_named_in_the_log() -> None:
    known = frozenset({"ops", EMAIL})
    targets = (
        Target("ops"),
        Target(EMAIL, "a@example.org"),
        Target("WEBHOOK", "https://example.org/"),
    )
    records = [record_of("r1", notifications=targets)]
    rules = RuleBook(records, Road(), lambda: 0, lambda: RuleSetting(known), lambda rule_id: {})
    with capture_logs() as lines:
        await rules.take_files(())
    assert lines == []
    known = frozenset({"other"})
    with capture_logs() as lines:
        await rules.take_files(())
    assert [(line["rule"], line["channel"]) for line in lines] == [
        ("rule r1", "ops"),
        ("rule r1", EMAIL),
    ]
