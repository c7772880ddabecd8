"""Every parser of what strangers send returns, or refuses as it says, whatever it is given."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from werkzeug.datastructures import MultiDict

from alertd.config.errors import ConfigError
from alertd.config.settings import load
from alertd.errors import AlertdError
from alertd.http import inflate, strict
from alertd.http.decode import EventDecoder, MediaType
from alertd.http.express import read_plain
from alertd.http.gate import Ask, Denied, Gate
from alertd.http.query import Parameters
from alertd.http.routes import ROUTES
from alertd.http.timestamp import instant_us, written_us
from alertd.ingest.series import SeriesRegistry
from alertd.metrics import Metrics
from alertd.notify.silence import Silence
from alertd.patterns import BadPattern, compile_pattern
from alertd.rules import RuleSpec
from tests.fuzz.inputs import BODIES, COMPRESSED, INPUTS, TIMES, mutated
from tests.unit.http.test_express import request

NOW_US: Final = 1_751_295_600_000_000
SHIPPED: Final = (Path(__file__).parents[2] / "etc" / "alertd.toml").read_bytes()
MAX_INFLATED: Final = 1 << 20
HEADS: Final = (request(), request(more=b"Idempotency-Key: k\r\nAuthorization: Bearer t\r\n"))
QUERIES: Final = (
    b"metricName",
    b"labels.a",
    b"from",
    b"limit",
    b"cursor",
    b"resolution",
    b"atomic",
)
HOSTS: Final = (b"localhost:9470", b"[::1]:9470", b"127.0.0.1", b"a.example.org")
PATTERNS: Final = (b"web-.*", rb"(a|b)*c{1,9}[\pL-z]\d\b", rb"(?i)^\Q.\E$", b"((a*)*)*")


def events(body: bytes) -> None:
    for media_type in MediaType:
        registry = SeriesRegistry(max_series=100)
        draft = EventDecoder(registry, max_events=100).decode(body, media_type, NOW_US)
        assert len(draft.series_ids) == len(draft.times_us) == len(draft.values)
        assert (draft.rejected > 0) == bool(draft.problems)
        msgspec.json.encode([problem.message for problem in draft.problems])


def rules(body: bytes) -> None:
    value = strict.parse(strict.to_text(body))
    for struct in (RuleSpec, Silence):
        strict.to_struct(value, struct)


def compressed(body: bytes) -> None:
    for unpack in inflate.INFLATE.values():
        try:
            assert len(unpack(body, MAX_INFLATED)) <= MAX_INFLATED
        except (inflate.NotCompressed, inflate.TooLong):
            continue


def heads(data: bytes) -> None:
    plain = read_plain(data)
    if plain is not None:
        assert 0 < plain.head_bytes <= len(data)
        assert plain.body_bytes >= 0


def queries(text: bytes) -> None:
    name = text.decode("latin-1")
    given_ = MultiDict([(name, name), ("limit", name), ("from", name), ("resolution", name)])
    parameters = Parameters(given_, "limit", "from", "to", "resolution", labels=True)
    parameters.labels()
    parameters.limit()
    parameters.resolution_us()
    parameters.span()
    parameters.check()


def gates(text: bytes) -> None:
    header = text.decode("latin-1")
    gate = Gate((), Metrics(), bind="127.0.0.1:1", allowed_hosts=("*.example.org",))
    for route in ROUTES[:2]:
        try:
            gate.admit(Ask(route.method, header, header, header, header), route)
        except Denied:
            continue


def times(text: bytes) -> None:
    for read in (instant_us, written_us):
        try:
            read(text.decode("latin-1"))
        except ValueError:
            continue


def patterns(text: bytes) -> None:
    try:
        compile_pattern(text.decode("latin-1")).fullmatch("aaaaaaaaaaaaaaaaaaaaaaaaaaaa!")
    except BadPattern:
        return


PARSERS: Final[dict[str, tuple[Callable[[bytes], None], tuple[bytes, ...]]]] = {
    "events": (events, BODIES),
    "rules": (rules, BODIES),
    "compressed": (compressed, COMPRESSED),
    "heads": (heads, HEADS),
    "queries": (queries, QUERIES + tuple(text.encode() for text in TIMES)),
    "gates": (gates, HOSTS),
    "times": (times, tuple(text.encode() for text in TIMES)),
    "patterns": (patterns, PATTERNS),
}


@pytest.mark.parametrize("parser", PARSERS)
def test_a_parser_refuses_as_it_says_or_returns(parser: str) -> None:
    parse, corpus = PARSERS[parser]

    @settings(
        max_examples=INPUTS // (len(PARSERS) + 2),
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(mutated(corpus))
    def holds(data: bytes) -> None:
        with suppress(AlertdError):
            parse(data)

    holds()


@settings(
    max_examples=max(1, INPUTS // 1000),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(mutated((SHIPPED, SHIPPED.replace(b"\n# ", b"\n"))))
def test_a_configuration_is_refused_with_places_or_read(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "alertd.toml"
    path.write_bytes(data)
    with suppress(ConfigError):
        load(path, {})
