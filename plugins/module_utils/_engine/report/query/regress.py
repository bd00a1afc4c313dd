# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Which statements got worse from one window to the next, and of what kind that is. Pure.

A statement is worse when its mean rose by a factor and by more than chance explains, and it matters for the load; or
when it runs so much more often that its load rose.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from .delta import Counters, blocks, io_ms, mean_ms, total_ms, variance_ms2

PLAN, GROWTH, VOLUME, CONTENTION = "plan", "data-growth", "volume", "contention"


@dataclass(frozen=True)
class Gate:
    """From when on it is worth a person's time. ``source`` says where the figures come from."""

    share: float = 0.01
    calls: int = 30
    factor: float = 1.5
    deviations: float = 3.0


@dataclass(frozen=True)
class Regression:
    """One statement that got worse; ``before`` and ``now`` are per call, ``load`` is ms per second."""

    kind: str
    factor: float
    share: float
    before: Mapping[str, float | None]
    now: Mapping[str, float | None]


def compare(
    before: Counters, before_seconds: float, now: Counters, now_seconds: float, *, total: float, gate: Gate
) -> Regression | None:
    """Whether a statement got worse between two windows of these lengths. ``total``: ms of all statements now.

    None also where there is too little to tell: fewer calls than the gate wants in either window.
    """
    if min(before_seconds, now_seconds, total) <= 0 or min(_calls(before), _calls(now)) < gate.calls:
        return None
    share = total_ms(now) / total
    old, new = _each(before, before_seconds), _each(now, now_seconds)
    if share < gate.share or new["load"] <= old["load"]:
        return None
    factor = _ratio(new["mean_ms"], old["mean_ms"])
    if factor >= gate.factor and _beyond_chance(before, now, gate.deviations):
        return Regression(_kind(old, new, gate.factor), factor, share, old, new)
    oftener, heavier = (
        _ratio(new["calls_per_second"], old["calls_per_second"]),
        _ratio(new["load"], old["load"]),
    )
    if oftener >= gate.factor and heavier >= gate.factor:
        return Regression(VOLUME, oftener, share, old, new)
    return None


def _kind(old: Mapping[str, float], new: Mapping[str, float], factor: float) -> str:
    """More rows a call: the data grew. More blocks for as many rows: another plan. Neither: it waits for others."""
    rows, looked_at = _ratio(new["rows"], old["rows"]), _ratio(new["blocks"], old["blocks"])
    if rows >= factor:
        return GROWTH
    return PLAN if looked_at >= factor else CONTENTION


def _each(figures: Counters, seconds: float) -> dict[str, float]:
    calls = _calls(figures)
    return {
        "calls_per_second": calls / seconds,
        "load": total_ms(figures) / seconds,
        "mean_ms": mean_ms(figures) or 0.0,
        "rows": figures.get("rows", 0.0) / calls,
        "blocks": blocks(figures) / calls,
        "io_ms": io_ms(figures) / calls,
    }


def _beyond_chance(before: Counters, now: Counters, deviations: float) -> bool:
    error = sum((variance_ms2(part) or 0.0) / _calls(part) for part in (before, now))
    rise = (mean_ms(now) or 0.0) - (mean_ms(before) or 0.0)
    return rise > deviations * math.sqrt(error)


def _ratio(new: float, old: float) -> float:
    if old > 0:
        return new / old
    return math.inf if new > 0 else 1.0


def _calls(figures: Counters) -> float:
    return figures.get("calls", 0.0)
