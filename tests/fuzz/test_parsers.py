"""Every parser of what strangers send returns, or refuses as it says, whatever it is given."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from werkzeug.datastructures import MultiDict

from alertd.channels.annotation_templates import annotation_fault
from alertd.config.errors import ConfigError
from alertd.config.lint import examine
from alertd.errors import AlertdError, InvalidParameters
from alertd.http import inflate, strict
from alertd.http.decode import EventDecoder, MediaType
from alertd.http.gate import Ask, Denied, Gate
from alertd.http.json_events import decode_each_line
from alertd.http.plain import read_plain
from alertd.http.query import Parameters
from alertd.http.routes import ROUTES
from alertd.http.timestamp import instant_us, written_us
from alertd.ingest.series import SeriesRegistry
from alertd.lines.protocol import LineCutter, read_greeting
from alertd.metrics import Metrics
from alertd.notify.silence import ActiveSilence, Silence, silence_problems
from alertd.patterns import BadPattern, compile_pattern
from alertd.rules import RuleSpec, parse_matcher
from alertd.store import cursor, event_pages, rollup_pages
from tests.fuzz.configurations import CONFIGURATIONS
from tests.fuzz.inputs import ALIKE, BODIES, COMPRESSED, INPUTS, TIMES, mutated
from tests.unit.http.alike import outcomes_are_the_same
from tests.unit.http.test_express import request

NOW_US: Final = 1_751_295_600_000_000
METRICS: Final = Metrics()
ENVIRON: Final = {"PATH": "/usr/bin"}
MAX_INFLATED: Final = 1 << 20
HEADS: Final = (
    request(),
    request(more=b"Idempotency-Key: k\r\nAuthorization: Bearer t\r\n"),
    b"GET /metrics HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip, br\r\nConnection: close\r\n\r\n",
)
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
CURSORS: Final = tuple(
    cursor.encode(*parts).encode()
    for parts in (("a name",), (NOW_US, "id:1"), (7,), (NOW_US, 3, 0, 60_000_000), (1, 2, 3))
)
TEMPLATES: Final = (
    b"{{ labels.host }} is at {{ value }}",
    b"{% if state == 'firing' %}{{ severity | upper }}{% else %}{{ since }}{% endif %}",
    b"{{ labels.a | replace('a', 'b') }}{{ threshold * 2 > 1 and not ended_at }}",
)
MATCHERS: Final = (b"payment", b"=~web-.*", b"!~(a|b)+", b"!=x", b"==~")
LINES: Final = (
    *(b'{"token": "t"}\n' + body + b"\n" for body in BODIES[:2]),
    BODIES[4],
    b"\r\n\n" + b"\n".join(BODIES),
)
PATTERNS: Final = (b"web-.*", rb"(a|b)*c{1,9}[\pL-z]\d\b", rb"(?i)^\Q.\E$", b"((a*)*)*")


def events(body: bytes) -> None:
    for media_type in MediaType:
        registry = SeriesRegistry(max_series=100)
        draft = EventDecoder(registry, max_events=100).decode(body, media_type, NOW_US)
        assert len(draft.series_ids) == len(draft.times_us) == len(draft.values)
        assert (draft.rejected > 0) == bool(draft.problems)
        msgspec.json.encode([problem.message for problem in draft.problems])


def alike(body: bytes) -> None:
    pytest.importorskip("numpy", reason="bodies are read as columns with NumPy")
    for is_lines in (False, True):
        outcomes_are_the_same(body, is_lines=is_lines)


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
    gate = Gate((), METRICS, bind="127.0.0.1:1", allowed_hosts=("*.example.org",))
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


def cursors(text: bytes) -> None:
    given_ = text.decode("latin-1")
    for read in (
        *(cursor.time_and_id, event_pages._Place.of, rollup_pages._Place.of),
        *(lambda one: cursor.decode(one, 1), lambda one: cursor.integers(one, 1)),
    ):
        with suppress(InvalidParameters):
            read(given_)


def templates(text: bytes) -> None:
    fault = annotation_fault(text.decode("latin-1"))
    assert fault is None or fault


def matchers(text: bytes) -> None:
    spelled = text.decode("latin-1")
    matcher = parse_matcher(spelled[:5], spelled)
    silence = Silence(
        id="", matchers=(matcher,), starts_us=0, ends_us=NOW_US, created_us=0, created_by="",
        comment="",
    )  # fmt: skip
    if not silence_problems(silence, 0):
        for labels in ({}, {spelled[:5]: spelled}):
            assert ActiveSilence(silence).holds(labels, 1) in (True, False)


def lines(data: bytes) -> None:
    cutter, cut = LineCutter(1000), len(data) // 2
    found = [*cutter.take(data[:cut]), *cutter.take(data[cut:]), *cutter.finish()]
    for line in found:
        read_greeting(line)
    if found:
        registry = SeriesRegistry(max_series=100)
        draft = decode_each_line(found, registry=registry, received_us=NOW_US, max_line_bytes=1000)
        assert len(draft.series_ids) + draft.rejected == len(found)


def configurations(data: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "alertd.toml"
        path.write_bytes(data)
        try:
            found = examine(path, ENVIRON).warnings()
        except ConfigError as error:
            found = list(error.problems)
            assert found
        assert {problem.file for problem in found} <= {path}


def patterns(text: bytes) -> None:
    try:
        compile_pattern(text.decode("latin-1")).fullmatch("aaaaaaaaaaaaaaaaaaaaaaaaaaaa!")
    except BadPattern:
        return


PARSERS: Final[dict[str, tuple[Callable[[bytes], None], tuple[bytes, ...]]]] = {
    "events": (events, BODIES),
    "alike": (alike, ALIKE),
    "rules": (rules, BODIES),
    "compressed": (compressed, COMPRESSED),
    "heads": (heads, HEADS),
    "queries": (queries, QUERIES + tuple(text.encode() for text in TIMES)),
    "gates": (gates, HOSTS),
    "times": (times, tuple(text.encode() for text in TIMES)),
    "patterns": (patterns, PATTERNS),
    "cursors": (cursors, CURSORS),
    "templates": (templates, TEMPLATES),
    "matchers": (matchers, MATCHERS),
    "lines": (lines, LINES),
    "configurations": (configurations, CONFIGURATIONS),
}


@pytest.mark.parametrize("parser", PARSERS)
def test_a_parser_refuses_as_it_says_or_returns(parser: str) -> None:
    parse, corpus = PARSERS[parser]

    @settings(
        max_examples=INPUTS * 4 // 5 // len(PARSERS),  # the rest goes over sockets
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(mutated(corpus))
    def holds(data: bytes) -> None:
        with suppress(AlertdError):
            parse(data)

    holds()


@pytest.mark.parametrize("corpus", CONFIGURATIONS)
def test_the_configurations_to_begin_with_are_right(tmp_path: Path, corpus: bytes) -> None:
    path = tmp_path / "alertd.toml"
    path.write_bytes(corpus)
    examine(path, ENVIRON).warnings()


@pytest.mark.parametrize("source", TEMPLATES)
def test_the_templates_to_begin_with_are_right(source: bytes) -> None:
    assert annotation_fault(source.decode()) is None
