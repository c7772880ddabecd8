"""A round: one stretch of load on a process that is idle before it, and what that cost.

Owns what is measured around the load generator.
"""

from __future__ import annotations

import time

from bench.client import LoadGenerator, LoadResult
from bench.processes import Program, machine_cpu_s
from bench.results import Round, percentiles
from bench.senders import LoadSpec


def run_round(program: Program, client: LoadGenerator, spec: LoadSpec) -> Round:
    """Have ``spec`` made, send it, and return what that cost.

    Raises ``RuntimeError`` if not everything was accepted.
    """
    client.prepare(spec)
    program_cpu_s, (machine_s, stolen_s) = program.facts.cpu_s(), machine_cpu_s()
    began_s = time.perf_counter()
    result = send(client)
    program.settle()
    seconds = time.perf_counter() - began_s
    program_cpu_s = program.facts.cpu_s() - program_cpu_s
    machine_until_s, stolen_until_s = machine_cpu_s()
    others_s = machine_until_s - machine_s - program_cpu_s - result.cpu_s
    return Round(
        events=result.accepted,
        requests=len(result.waits_s),
        seconds=seconds,
        request=percentiles(result.waits_s),
        daemon_cpu_s=program_cpu_s,
        client_cpu_s=result.cpu_s,
        other_cpu_s=max(0.0, others_s),
        stolen_cpu_s=stolen_until_s - stolen_s,
    )


def send(client: LoadGenerator) -> LoadResult:
    """Send what the client has prepared. Raises ``RuntimeError`` if not all was accepted."""
    result = client.run()
    if result.problems:
        raise RuntimeError(f"not everything was accepted: {result.problems[0]}")
    return result
