"""Making the bytes of a block: all its runs at once, in a few array operations.

Owns how the columns of ``block_codec.py`` and ``value_codec.py`` come about; those have the format
and the way back. Needs NumPy, and is imported when something is folded for the first time.

Cost: about 0.2 us an event, where Python's own ``map`` and ``accumulate`` take 1.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgpack
import numpy as np
import zstandard

from alertd.store.block_codec import VERSION
from alertd.store.columns import LEVEL, pack
from alertd.store.envelope import seal
from alertd.store.runs import Booleans, Floats, Integers
from alertd.store.value_codec import MAX_DECIMALS, POWERS, RAW

MAX_CORRECTION: Final = 1 << 12
"""Units in the last place; a scaled value that misses by more says that the run is not decimal."""

_LIMIT: Final = float(1 << 62)
"""Steps between scaled values of at most this size fit in 64 bits."""
_SAMPLES: Final = 3


class Columns(NamedTuple):
    """The events of a block, run by run; each column has one length but for the first two."""

    series_ids: Integers
    """One a run, ascending."""
    counts: Integers
    """The number of events of each run, at least 1."""
    ordinals: Integers
    times_us: Integers
    values: Floats
    ids: Sequence[str | None] | None
    """None where no event has one."""


class EncodedValues(NamedTuple):
    """What ``value_codec.decode_values`` needs: two numbers a run, two columns."""

    decimals: Integers
    firsts: Integers
    """The first scaled value; 0 if the run is raw."""
    steps: Integers
    """From each scaled value to the next; a run begins with a 0, so that places stay places."""
    corrections: Integers


def encode_block(block: Columns) -> bytes:
    """Return the body for ``block``, which has an event at least."""
    starts = np.cumsum(block.counts) - block.counts
    time_steps, time_changes = _changes(block.times_us, starts, block.counts)
    ordinal_steps, ordinal_changes = _changes(block.ordinals, starts, block.counts)
    values = encode_values(block.values, starts)
    heads = (
        block.series_ids,
        block.counts,
        block.times_us[starts],
        time_steps,
        block.ordinals[starts],
        ordinal_steps,
        values.decimals,
        values.firsts,
    )
    content = [
        len(block.counts),
        [pack(np.diff(head, prepend=0)) for head in heads],
        [pack(c) for c in (time_changes, ordinal_changes, values.steps, values.corrections)],
        None if block.ids is None else _packed_ids(block.ids),
    ]
    return seal(VERSION, 0, len(block.values), [msgpack.packb(content)])


def encode_values(values: Floats, starts: Integers) -> EncodedValues:
    """Return the columns of ``values``; a run begins at each of ``starts``."""
    counts = np.diff(starts, append=len(values))
    bits = values.view(np.int64)
    decimals = _decimals_of_samples(values, starts, counts)
    scaled, corrections, is_good = _scaled(values, np.repeat(decimals, counts))
    is_raw = ~np.logical_and.reduceat(is_good, starts)
    again = is_raw & (decimals != RAW)
    if again.any():  # what was looked at does not speak for all
        of_again = np.repeat(again, counts)
        chosen, begins = values[of_again], np.cumsum(counts[again]) - counts[again]
        decimals[again] = np.maximum.reduceat(_decimals(chosen[:, np.newaxis]), begins)
        scaled[of_again], corrections[of_again], is_good = _scaled(
            chosen, np.repeat(decimals[again], counts[again])
        )
        is_raw[again] = ~np.logical_and.reduceat(is_good, begins)
    steps = np.diff(scaled, prepend=0)
    steps[starts] = 0
    if is_raw.any():
        changes = bits.copy()
        changes[1:] ^= bits[:-1]
        changes[starts] = bits[starts]
        of_raw = np.repeat(is_raw, counts)
        steps[of_raw] = 0
        corrections[of_raw] = changes[of_raw]
    return EncodedValues(
        decimals=np.where(is_raw, RAW, decimals),
        firsts=np.where(is_raw, 0, scaled[starts]),
        steps=steps,
        corrections=corrections,
    )


def _changes(column: Integers, starts: Integers, counts: Integers) -> tuple[Integers, Integers]:
    """Return the first step of each run and, place by place, by how much the next one differs.

    The first two places of a run hold a 0: what is there is in the head. Differences that do not
    fit in 64 bits wrap around, and come back when they are added up.
    """
    seconds = starts[counts > 1] + 1
    steps = np.diff(column, prepend=0)
    changes = np.diff(steps, prepend=0)
    changes[starts] = changes[seconds] = 0
    first_steps = np.zeros_like(starts)
    first_steps[counts > 1] = steps[seconds]
    return first_steps, changes


def _decimals_of_samples(values: Floats, starts: Integers, counts: Integers) -> Integers:
    """Return how many digits behind the point some values of each run have at most."""
    places = [starts + counts * sample // _SAMPLES for sample in range(_SAMPLES)]
    return _decimals(values[np.stack([*places, starts + counts - 1], axis=1)])


def _decimals(values: Floats) -> Integers:
    """Return for each row the least number of digits that holds its values, or ``RAW``."""
    decimals = np.full(len(values), RAW)
    for digits in range(MAX_DECIMALS + 1):
        open_rows = np.flatnonzero(decimals == RAW)
        if not len(open_rows):
            break
        is_good = _scaled(values[open_rows], np.array(digits))[2].all(axis=1)
        decimals[open_rows[is_good]] = digits
    return decimals


def _scaled(values: Floats, decimals: Integers) -> tuple[Integers, Integers, Booleans]:
    """Return ``values`` as integers of so many decimals, what those miss, and which are good."""
    powers = POWERS[np.minimum(decimals, MAX_DECIMALS)]
    with np.errstate(over="ignore"):
        products = values * powers
    # Below and not at the limit: from one end to the other would be a step of 2**63.
    fits = (np.abs(products) < _LIMIT) & (decimals != RAW)
    scaled = np.rint(np.where(fits, products, 0.0)).astype(np.int64)
    corrections = values.view(np.int64) - (scaled / powers).view(np.int64)
    # The sign of -0.0 is a correction that has no absolute value: abs leaves it negative, good.
    return scaled, corrections, fits & (np.abs(corrections) <= MAX_CORRECTION)


def _packed_ids(ids: Sequence[str | None]) -> bytes:
    return zstandard.compress(msgpack.packb(ids, unicode_errors="surrogatepass"), LEVEL)
