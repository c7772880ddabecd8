"""What the fields that clients send may be, beyond their types, as JSON Schema says it.

Owns the keywords of each field, made of the same numbers by which values are refused
(``limits.py``, ``rule_checks.py``). Two things JSON Schema cannot say, and the fields' notes do:
what one field means for another, and what is printable beyond the first 256 characters of Unicode.
So whatever these keywords exclude is refused, and nearly all that they allow is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from alertd.escalation import MAX_ESCALATION_SECS, MIN_ESCALATION_SECS
from alertd.http.event_input import EventFields
from alertd.http.incidents import MAX_BY_CHARS, AckBody
from alertd.http.msgpack_columns import Columns
from alertd.http.silences import SilenceBody
from alertd.http.timestamp import MAX_EPOCH_S
from alertd.limits import (
    MAX_EVENT_ID_CHARS,
    MAX_LABEL_NAME_CHARS,
    MAX_LABEL_VALUE_CHARS,
    MAX_LABELS,
    MAX_METRIC_NAME_CHARS,
    MAX_PATTERN_CHARS,
)
from alertd.model import US_PER_S, Target
from alertd.notify import silence
from alertd.rule_checks import (
    ANNOTATION_NAME,
    MAX_ANNOTATION_CHARS,
    MAX_ANNOTATIONS,
    MAX_DESCRIPTION_CHARS,
    MAX_GROUP_BY,
    MAX_MATCHERS,
    MAX_NAME_CHARS,
    MAX_SAMPLES,
    MAX_URL_CHARS,
    MAX_WINDOW_US,
)
from alertd.rules import AGGREGATES, RuleSpec

Keywords = Mapping[str, object]

_NOT_PRINTABLE: Final = r"\x00-\x1f\x7f-\xa0\xad"
_PRINTABLE: Final = f"^[^{_NOT_PRINTABLE}]*$"
_ONE_WORD: Final = rf"^[^\s{_NOT_PRINTABLE}]+$"
_NOT_BLANK: Final = rf"^[^{_NOT_PRINTABLE}]*[^\s{_NOT_PRINTABLE}][^{_NOT_PRINTABLE}]*$"


def _text(most: int, pattern: str | None = _PRINTABLE, *, least: int = 0) -> Keywords:
    keywords: dict[str, object] = {"maxLength": most}
    if least:
        keywords["minLength"] = least
    return keywords if pattern is None else keywords | {"pattern": pattern}


def _map(most: int, names: Keywords, values: Keywords, *, least: int = 0) -> Keywords:
    """Return what an object of texts may be."""
    return {
        "minProperties": least,
        "maxProperties": most,
        "propertyNames": names,
        "additionalProperties": {"type": "string", **values},
    }


def _between(least: float, most: float) -> Keywords:
    return {"minimum": least, "maximum": most}


_SHORTEST_SECS: Final = 1 / US_PER_S
_LONGEST_SECS: Final = MAX_WINDOW_US / US_PER_S
_METRIC_NAME: Final = _text(MAX_METRIC_NAME_CHARS, _ONE_WORD, least=1)
_LABEL_NAME: Final = _text(MAX_LABEL_NAME_CHARS, least=1)
_LABELS: Final = _map(MAX_LABELS, _LABEL_NAME, _text(MAX_LABEL_VALUE_CHARS, None))
_EVENT_ID: Final = _text(MAX_EVENT_ID_CHARS, None, least=1)
_PATTERN: Final = _text(MAX_PATTERN_CHARS, None)
_URL: Final = {"maxLength": MAX_URL_CHARS}
_DURATION: Final = _between(0, _LONGEST_SECS)

RULE: Final[Mapping[str, Keywords]] = {
    "name": _text(MAX_NAME_CHARS, _NOT_BLANK, least=1),
    "metricName": _METRIC_NAME,
    "windowDurationSecs": _between(_SHORTEST_SECS, _LONGEST_SECS),
    "bucketIntervalSecs": _between(_SHORTEST_SECS, _LONGEST_SECS),
    "aggregate": {
        "pattern": rf"^({'|'.join(AGGREGATES)}|p\d{{1,2}}(\.\d{{1,6}})?|p100)$",
        "examples": ["avg", "p95"],
    },
    "matchers": _map(MAX_MATCHERS, _LABEL_NAME, _PATTERN),
    "groupBy": {
        "maxItems": MAX_GROUP_BY,
        "uniqueItems": True,
        "items": {"type": "string", **_LABEL_NAME},
    },
    "minSamples": _between(0, MAX_SAMPLES),
    "forSecs": _DURATION,
    "keepFiringSecs": _DURATION,
    "allowedLatenessSecs": _DURATION,
    "groupTtlSecs": _between(1, _LONGEST_SECS),
    "description": _text(MAX_DESCRIPTION_CHARS, None),
    "annotations": _map(
        MAX_ANNOTATIONS, {"pattern": f"^{ANNOTATION_NAME}$"}, _text(MAX_ANNOTATION_CHARS, None)
    ),
    "runbookUrl": {**_URL, "pattern": rf"^https?://[^\s{_NOT_PRINTABLE}]+$"},
    "repeatIntervalSecs": _DURATION,
    "escalateAfterSecs": _between(MIN_ESCALATION_SECS, MAX_ESCALATION_SECS),
}
"""The fields of a rule, by their names on the wire."""

_OF_STRUCTS: Final[Mapping[type[Struct], Mapping[str, Keywords]]] = {
    EventFields: {
        "metricName": _METRIC_NAME,
        "timestamp": _between(-MAX_EPOCH_S, MAX_EPOCH_S),
        "labels": _LABELS,
        "id": _EVENT_ID,
    },
    Columns: {
        "series": {
            "type": "array",
            "items": {
                "type": "array",
                "prefixItems": [{"type": "string", **_METRIC_NAME}, {"type": "object", **_LABELS}],
                "minItems": 2,
                "maxItems": 2,
            },
        },
        "id": {"items": {"anyOf": [{"type": "string", **_EVENT_ID}, {"type": "null"}]}},
    },
    RuleSpec: RULE,
    Target: {"channel": {"minLength": 1}, "endpoint": _URL},
    SilenceBody: {
        "matchers": _map(silence.MAX_MATCHERS, _LABEL_NAME, _PATTERN, least=1),
        "createdBy": _text(silence.MAX_TEXT_CHARS),
        "comment": _text(silence.MAX_TEXT_CHARS),
    },
    AckBody: {"by": _text(MAX_BY_CHARS)},
}


def constraints_of(struct: type[Struct]) -> Mapping[str, Keywords]:
    """Return the keywords of the fields of ``struct``, inherited ones too, by name on the wire."""
    return {
        name: keywords
        for parent in reversed(struct.__mro__)
        for name, keywords in _OF_STRUCTS.get(parent, {}).items()
    }
