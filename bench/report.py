"""The figures for people: tables, framed on a terminal and plain when piped."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from rich.box import SIMPLE_HEAD, Box
from rich.console import Console
from rich.table import Table

from bench.results import (
    Curve,
    EngineFigures,
    HostileFigures,
    IngestFigures,
    LatencyFigures,
    LineFigures,
    Machine,
    MemoryFigures,
    ReadFigures,
    ReplayFigures,
    Results,
    RivalFigures,
    Round,
    StallFigures,
    StartFigures,
    StorageFigures,
    StormFigures,
    WaitFigures,
)

_PLAIN_WIDTH = 132
_README = Path(__file__).with_name("README.md")
_MIB = 1 << 20
_MEMORY_HEADINGS = ("idle MiB", "peak MiB", "stored bytes/event")


def show(results: Results) -> None:
    """Print every figure to standard output."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PLAIN_WIDTH)
    console.print(_machine(results.machine))
    box = SIMPLE_HEAD if console.is_terminal else None
    for part, tables in _tables(results).items():
        _show_part(console, tables, box)
        if tables and part in results.seconds and not console.is_terminal:
            console.print(f"\n({part}: {results.seconds[part]:.0f} s)")


def put_into_readme(results: Results, readme: Path = _README) -> Iterator[str]:
    """Put the tables of what was run between their marks in ``readme``; yield each part's name.

    A part's marks are ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->``. What was not run stays.
    """
    text = readme.read_text(encoding="utf-8")
    for part, tables in _tables(results).items():
        if not tables:
            continue
        written = io.StringIO()
        console = Console(file=written, highlight=False, width=_PLAIN_WIDTH)
        console.print(_machine(results.machine))
        _show_part(console, tables, None)
        lines = "\n".join(line.rstrip() for line in written.getvalue().splitlines())
        begin, end = f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
        before, _, rest = text.partition(begin)
        _, mark, after = rest.partition(end)
        if not mark:
            raise ValueError(f"{readme} has no place for {part}: {begin} … {end}")
        text = f"{before}{begin}\n```text\n{lines}\n```\n{end}{after}"
        yield part
    readme.write_text(text, encoding="utf-8")


def _show_part(console: Console, tables: Sequence[tuple[str, Table]], box: Box | None) -> None:
    for title, table in tables:
        table.box = box
        console.print(f"\n{title}")
        console.print(table)


def _tables(results: Results) -> dict[str, list[tuple[str, Table]]]:
    """Return the tables of each part that was run, by its name."""
    http, others = "Events over HTTP, durable and judged", "(VM: VictoriaMetrics)"
    appends = "Appends of 1000 events, 50 a second, until they are durable"
    recovery = "Recovery from the log alone, a rule for each series"
    parts = {
        "ingest": [
            (http, _ingest(results.ingest)),
            ("Memory and disk in that", _memory(results.ingest)),
        ],
        "lines": [("Events as lines over a socket, durable and judged", _lines(results.lines))],
        "rivals": [
            (f"The same events in turn, by others too {others}", _rivals(results.rivals)),
            ("Memory and disk in that", _rivals_memory(results.rivals)),
        ],
        "latency": [("From the POST to the webhook's arrival", _latency(results.latency))],
        "hostile": [("Single events while others do their worst", _hostile(results.hostile))],
        "startup": [("From the start of the process to ready", _starts(results.starts))],
        "engine": [("The engine alone, in process", _engine(results.engine))],
        "curves": [("How the engine's cost grows", _curves(results.curves))],
        "memory": [("What the engine's state takes", _states(results.memory))],
        "storage": [("Events on disk", _storage(results.storage))],
        "waits": [(appends, _waits(results.waits))],
        "storm": [("Single events while many groups fire in one batch", _storms(results.storms))],
        "reads": [("Pages of GET /api/events, one after the other", _reads(results.reads))],
        "recovery": [
            (recovery, _replays(results.replays)),
            ("Batches of 1000 events while a snapshot is taken", _stalls(results.stalls)),
        ],
    }
    return {
        part: [(title, table) for title, table in tables if table.row_count]
        for part, tables in parts.items()
    }


def _machine(machine: Machine) -> str:
    return (
        f"{machine.processor}, {machine.cores} cores; Python {machine.python}, "
        f"Linux {machine.kernel}; store on {machine.filesystem}; "
        f"load average before the run {machine.load_average:.2f}"
    )


def _ingest(found: Sequence[IngestFigures]) -> Table:
    headings = ("events/s", "p50 ms", "p99 ms", "CPU s/M", "client", "other CPU s/s", "stolen")
    table = _table(("events", "", *headings))
    for figures in found:
        for label, each in (("best", figures.best), ("median", figures.median)):
            table.add_row(figures.workload, label, *_cells(each))
    return table


def _lines(found: Sequence[LineFigures]) -> Table:
    headings = ("events/s", "ack p50 ms", "p99 ms", "CPU s/M", "client", "other CPU s/s", "stolen")
    table = _table(("lines", *headings))
    for figures in found:
        table.add_row(figures.case, *_cells(figures.median))
    return table


def _rivals(found: Sequence[RivalFigures]) -> Table:
    names = list(found[0].times_rivals) if found else []
    headings = ("a request", "events/s", "p50 ms", "p99 ms", "CPU s/M")
    ratios = (f"x {name.replace('VictoriaMetrics', 'VM')}" for name in names)
    table = _table(("who", "", *headings, *ratios))
    for figures in found:
        table.add_row(
            figures.name,
            figures.form,
            f"{figures.batch_events:,}",
            *islice(_cells(figures.median), 4),
            *(f"{figures.times_rivals[name]:.2f}" for name in names),
        )
    return table


def _rivals_memory(found: Sequence[RivalFigures]) -> Table:
    table = _table(("who", *_MEMORY_HEADINGS))
    for figures in {each.name: each for each in found}.values():
        table.add_row(figures.name, *_memory_cells(figures))
    return table


def _cells(each: Round) -> Iterable[str]:
    yield f"{each.events_per_s:,.0f}"
    yield f"{each.request.p50_ms:.1f}"
    yield f"{each.request.p99_ms:.1f}"
    yield f"{each.cpu_s_per_million:.2f}"
    yield f"{each.client_cpu_s / each.events * 1e6:.2f}"
    yield f"{each.other_cpu_s / each.seconds:.2f}"
    yield f"{each.stolen_cpu_s / each.seconds:.2f}"


def _memory(found: Sequence[IngestFigures]) -> Table:
    table = _table(("events", "rounds", "accepted", *_MEMORY_HEADINGS))
    for figures in found:
        table.add_row(
            figures.workload,
            f"{len(figures.rounds)}",
            f"{sum(each.events for each in figures.rounds):,}",
            *_memory_cells(figures),
        )
    return table


def _memory_cells(figures: IngestFigures | RivalFigures) -> Iterable[str]:
    yield f"{figures.idle_bytes / _MIB:.0f}"
    yield f"{figures.peak_bytes / _MIB:.0f}"
    yield f"{figures.stored_bytes_per_event:.1f}"


def _latency(found: Sequence[LatencyFigures]) -> Table:
    headings = ("others' events/s", "pause ms", "alerts", "p50 ms", "p99 ms", "max ms")
    table = _table(headings)
    for figures in found:
        alert = figures.alert
        milliseconds = (f"{ms:.1f}" for ms in (alert.p50_ms, alert.p99_ms, alert.max_ms))
        others, pause = f"{figures.events_per_s:,.0f}", f"{figures.pause_ms:.0f}"
        table.add_row(others, pause, f"{figures.alerts}", *milliseconds)
    return table


def _hostile(found: Sequence[HostileFigures]) -> Table:
    headings = ("slow clients", "flooding", "p50 ms", "quiet", "p99 ms", "quiet", "p99 ratio")
    table = _table(headings)
    for figures in found:
        hostile, quiet = figures.hostile, figures.quiet
        table.add_row(
            f"{figures.slow_clients}",
            f"{figures.flooding_connections}",
            *(f"{ms:.1f}" for ms in (hostile.p50_ms, quiet.p50_ms, hostile.p99_ms, quiet.p99_ms)),
            f"{figures.p99_ratio:.1f}",
        )
    return table


def _engine(found: Sequence[EngineFigures]) -> Table:
    headings = ("rule", "traffic", "CPU us/event", "CPU us/new series")
    table = _table(headings)
    for figures in found:
        first_us = figures.us_per_new_series
        table.add_row(
            figures.case,
            figures.traffic,
            f"{figures.us_per_event:.2f}",
            "" if first_us is None else f"{first_us:.0f}",
        )
    return table


def _curves(found: Sequence[Curve]) -> Table:
    table = _table(("case", "", "size: CPU us/event"))
    for curve in found:
        points = "  ".join(
            f"{point.size:,}: {_rounded(point.us_per_event)}" for point in curve.points
        )
        table.add_row(curve.case, curve.varied, points)
    return table


def _rounded(us: float) -> str:
    return f"{us:.2f}" if us < 100 else f"{us:,.0f}"


def _states(found: Sequence[MemoryFigures]) -> Table:
    table = _table(("case", "states", "bytes/state", "full", "bytes/event", "process MiB"))
    for figures in found:
        full, event = figures.bytes_per_full_state, figures.bytes_per_event
        process = figures.process_bytes
        table.add_row(
            figures.case,
            f"{figures.states:,}",
            f"{figures.bytes_per_state:,.0f}",
            "" if full is None else f"{full:,.0f}",
            "" if event is None else f"{event:.1f}",
            "" if process is None else f"{process / _MIB:,.0f}",
        )
    return table


def _storage(found: Sequence[StorageFigures]) -> Table:
    headings = ("bytes/event", "folded", "fold CPU s/M", "fold s/M", "replay/s", "p50 ms", "p99 ms")
    table = _table(("events", "series", "count", *headings))
    for figures in found:
        table.add_row(
            figures.workload,
            f"{figures.series:,}",
            f"{figures.events:,}",
            f"{figures.unfolded_bytes_per_event:.1f}",
            f"{figures.folded_bytes_per_event:.2f}",
            f"{figures.fold_cpu_s_per_million:.2f}",
            f"{figures.fold_s_per_million:.2f}",
            f"{figures.replayed_events_per_s:,.0f}",
            f"{figures.read.p50_ms:.1f}",
            f"{figures.read.p99_ms:.1f}",
        )
    return table


def _waits(found: Sequence[WaitFigures]) -> Table:
    headings = ("p50 ms", "p99 ms", "max ms", "behind others p99", "max ms", "the longest, ms")
    table = _table(("beside", "appends", *headings, ""))
    for figures in found:
        append, behind = figures.append, figures.behind_others
        waits = (append.p50_ms, append.p99_ms, append.max_ms, behind.p99_ms, behind.max_ms)
        milliseconds = (f"{ms:.1f}" for ms in (*waits, figures.longest_other_ms))
        table.add_row(figures.beside, f"{figures.appends}", *milliseconds, figures.longest_other)
    return table


def _starts(found: Sequence[StartFigures]) -> Table:
    headings = ("p50 ms", "p99 ms", "CPU s", "idle MiB", "1st answer ms", "then MiB")
    table = _table(("configuration", "starts", *headings))
    for figures in found:
        table.add_row(
            figures.case,
            f"{figures.starts}",
            f"{figures.ready.p50_ms:.0f}",
            f"{figures.ready.p99_ms:.0f}",
            f"{figures.cpu_s:.2f}",
            f"{figures.idle_bytes / _MIB:.0f}",
            f"{figures.first_answer.p50_ms:.0f}",
            f"{figures.asked_bytes / _MIB:.0f}",
        )
    return table


def _storms(found: Sequence[StormFigures]) -> Table:
    headings = ("before p99 ms", "max ms", "in it p50 ms", "p99 ms", "max ms", "p99 ratio")
    table = _table(("groups", *headings, "messages", "lost", "twice", "B/group"))
    for figures in found:
        before, during = figures.before, figures.during
        waits = (before.p99_ms, before.max_ms, during.p50_ms, during.p99_ms, during.max_ms)
        table.add_row(
            f"{figures.groups:,}",
            *(f"{ms:.1f}" for ms in waits),
            f"{figures.p99_ratio:.1f}",
            f"{figures.messages:.1f}",
            f"{figures.lost}",
            f"{figures.repeated}",
            f"{figures.bytes_a_group:,.0f}",
        )
    return table


def _reads(found: Sequence[ReadFigures]) -> Table:
    table = _table(("asked", "stored", "limit", "reads", "p50 ms", "p99 ms", "max ms"))
    for figures in found:
        page = figures.page
        table.add_row(
            figures.asked,
            f"{figures.stored_events:,}",
            f"{figures.limit:,}",
            f"{figures.reads}",
            *(f"{ms:.1f}" for ms in (page.p50_ms, page.p99_ms, page.max_ms)),
        )
    return table


def _replays(found: Sequence[ReplayFigures]) -> Table:
    headings = ("series", "events", "incidents", "events/s", "events per CPU s")
    table = _table(("traffic", *headings))
    for figures in found:
        counts = (figures.series, figures.events, figures.incidents)
        numbers = (*counts, figures.events_per_s, figures.events_per_cpu_s)
        table.add_row(figures.traffic, *(f"{number:,.0f}" for number in numbers))
    return table


def _stalls(found: Sequence[StallFigures]) -> Table:
    headings = ("judging p50 ms", "p99 ms", "max ms", "loop p50 ms", "p99 ms", "max ms")
    table = _table(("beside", "groups", *headings))
    for figures in found:
        waits = (figures.judging, figures.loop)
        milliseconds = [ms for each in waits for ms in (each.p50_ms, each.p99_ms, each.max_ms)]
        table.add_row(figures.beside, f"{figures.groups:,}", *(f"{ms:.1f}" for ms in milliseconds))
    return table


def _table(headings: Sequence[str]) -> Table:
    table = Table(padding=(0, 2, 0, 0))
    for number, heading in enumerate(headings):
        is_name = number == 0 or heading in ("", "traffic")
        table.add_column(heading, justify="left" if is_name else "right", no_wrap=True)
    return table
