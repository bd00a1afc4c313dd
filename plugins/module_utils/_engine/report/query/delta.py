# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What happened between two readings of counters that somebody may have reset, evicted or lost meanwhile. Pure.

A reading is ``{key: counters}``; the key is user, database, toplevel and queryid. Besides what never goes down each has
``square`` (the sum of the squares of the durations, in ms²: calls · (deviation² + mean²)) so that the deviation
within a window can be told, and ``since``, when its entry was made (1.11), or None.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .columns import COUNTERS

Counters = Mapping[str, float]
#: What of a difference is exact, and what is "at least".
EXACT, AT_LEAST = "exact", "at-least"
#: Noise of sums of doubles: what went down by less did not go down.
_NOISE = 1e-6


def square(calls: float, mean: float, deviation: float) -> float:
    """The sum of squares behind a mean and a deviation of a population."""
    return calls * (deviation * deviation + mean * mean)


@dataclass(frozen=True)
class Change:
    """What one entry did in a window. ``how`` is ``same`` (the entry of then went on), ``new`` (it was made in the
    window) or ``restarted`` (it was evicted or reset and made again)."""

    figures: Counters
    how: str
    certainty: str = EXACT

    @property
    def calls(self) -> float:
        """How often it ran."""
        return self.figures.get("calls", 0.0)

    @property
    def total_ms(self) -> float:
        """Execution and planning."""
        return total_ms(self.figures)


@dataclass(frozen=True)
class Changes:
    """All of a window: the entries that ran in it, and the keys of those that were evicted since."""

    entries: dict[str, Change]
    vanished: list[str] = field(default_factory=list)


def total_ms(figures: Counters) -> float:
    """Execution and planning."""
    return figures.get("exec_ms", 0.0) + figures.get("plan_ms", 0.0)


def continued(before: Counters, now: Counters) -> bool:
    """Whether ``now`` counts on from ``before``: the same entry, as far as anybody can tell.

    Where both say when the entry was made that decides; a counter that went down always says no.
    """
    if before.get("since") is not None and now.get("since") is not None and before["since"] != now["since"]:
        return False
    return all(
        now[name] >= before[name] - _noise(before[name])
        for name in COUNTERS
        if name in before and name in now
    )


def changes(
    before: Mapping[str, Counters], now: Mapping[str, Counters], *, evicting: bool, began: float | None = None
) -> Changes:
    """What each entry did between the readings.

    ``evicting``: entries were thrown out in between, so that one that is not in ``before`` may have been there before
    and gone. ``began``: epoch of the first reading; an entry that says it was made later is new for certain.
    """
    found: dict[str, Change] = {}
    for key, figures in now.items():
        old = before.get(key)
        if old is None:
            sure = not evicting or _made_after(figures, began)
            change = Change(_plain(figures), "new", EXACT if sure else AT_LEAST)
        elif continued(old, figures):
            change = Change(_minus(figures, old), "same")
        else:
            change = Change(_plain(figures), "restarted", AT_LEAST)
        if change.calls > 0 or change.figures.get("plans", 0.0) > 0:
            found[key] = change
    return Changes(found, sorted(key for key in before if key not in now))


def since_reset(now: Mapping[str, Counters], *, evicting: bool) -> Changes:
    """The same for all that was counted since the statistics were reset."""
    return changes({}, now, evicting=evicting)


def together(parts: Iterable[Change]) -> Change:
    """Several entries of one statement as one."""
    figures: dict[str, float] = {}
    ways, certainty = set(), EXACT
    for part in parts:
        for name, value in part.figures.items():
            figures[name] = figures.get(name, 0.0) + value
        ways.add(part.how)
        certainty = AT_LEAST if AT_LEAST in (certainty, part.certainty) else EXACT
    how = "same" if "same" in ways else "restarted" if "restarted" in ways else "new"
    return Change(figures, how, certainty)


def mean_ms(figures: Counters) -> float | None:
    """Mean duration of an execution, without planning."""
    calls = figures.get("calls", 0.0)
    return figures.get("exec_ms", 0.0) / calls if calls > 0 else None


def variance_ms2(figures: Counters) -> float | None:
    """The variance of the durations in the window, of a population; None without calls or squares."""
    calls = figures.get("calls", 0.0)
    if calls <= 0 or "square" not in figures:
        return None
    mean = figures.get("exec_ms", 0.0) / calls
    return max(0.0, figures["square"] / calls - mean * mean)


def variation(figures: Counters) -> float | None:
    """The coefficient of variation: the deviation in means."""
    mean, variance = mean_ms(figures), variance_ms2(figures)
    return math.sqrt(variance) / mean if mean and variance is not None else None


def blocks(figures: Counters) -> float:
    """Blocks that were looked at, wherever they came from."""
    return sum(figures.get(name, 0.0) for name in ("hit", "read", "local", "temp_read"))


def io_ms(figures: Counters) -> float:
    """Time spent reading and writing; nothing where track_io_timing is off."""
    return figures.get("read_ms", 0.0) + figures.get("write_ms", 0.0)


def _plain(figures: Counters) -> dict[str, float]:
    return {name: value for name, value in figures.items() if name != "since" and value is not None}


def _minus(now: Counters, before: Counters) -> dict[str, float]:
    return {name: max(0.0, value - before.get(name, 0.0)) for name, value in _plain(now).items()}


def _made_after(figures: Counters, began: float | None) -> bool:
    made = figures.get("since")
    return made is not None and began is not None and made >= began


def _noise(value: float) -> float:
    return _NOISE * max(1.0, abs(value))
