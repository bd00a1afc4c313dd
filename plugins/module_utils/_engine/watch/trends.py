# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Choosing from the history, and what is usual: medians of earlier runs, and how far the newest is from them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from statistics import median
from typing import Any

from ..core.clock import format_utc
from .history import BAD, OK, RUNNING

#: Runs that a median is made of; fewer than the least say nothing.
COMPARED_RUNS = 10
LEAST_RUNS = 3


def chosen(
    runs: Iterable[Mapping[str, Any]],
    *,
    operation: str | None = None,
    since: datetime | None = None,
    last: int | None = None,
) -> list[dict[str, Any]]:
    """The runs of an operation, begun at ``since`` or later, of these the ``last`` ones; oldest first."""
    begun = format_utc(since) if since else ""
    found = [
        dict(run)
        for run in runs
        if (operation is None or run["operation"] == operation) and str(run["began_at"]) >= begun
    ]
    return found[-last:] if last else found


def series_of(run: Mapping[str, Any]) -> str:
    """What a run may be compared with: ``backup/full``, ``dump/<database>/<label>``, ``expire``."""
    facts = run.get("facts") or {}
    operation = str(run["operation"])
    if operation == "backup":
        return f"backup/{facts.get('kind', 'full')}"
    if operation in ("dump", "load", "trial"):
        names = (facts.get("database"), facts.get("series") or facts.get("name"))
        return "/".join([operation, *(str(name) for name in names if name)])
    if operation in ("copy", "verify"):
        names = (facts.get("name"), "thorough" if facts.get("thorough") else None)
        return "/".join([operation, *(str(name) for name in names if name)])
    return operation


def size_of(run: Mapping[str, Any]) -> int | None:
    """How big what it made is, in bytes."""
    facts = run.get("facts") or {}
    for name in ("plain_bytes", "stored_bytes", "bytes", "freed_bytes"):
        if isinstance(facts.get(name), (int, float)):
            return int(facts[name])
    return None


def trends(runs: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """For each series: the newest good run beside the median of the (at most ten) good ones before it.

    ``seconds`` and ``bytes`` each have ``newest``, ``median`` and ``factor`` (newest / median; None where there is
    nothing to compare with); ``runs``: how many the medians are made of.
    """
    series: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        if run["result"] == OK:
            series.setdefault(series_of(run), []).append(run)
    return {name: _trend(found) for name, found in sorted(series.items())}


def _trend(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    newest, before = found[-1], found[:-1][-COMPARED_RUNS:]
    sizes = [size for size in map(size_of, before) if size is not None]
    seconds = [float(run["seconds"]) for run in before if run.get("seconds") is not None]
    return {
        "newest_at": newest["began_at"],
        "runs": len(before),
        "seconds": _beside(newest.get("seconds"), seconds),
        "bytes": _beside(size_of(newest), sizes),
    }


def _beside(newest: float | None, before: Sequence[float]) -> dict[str, Any]:
    usual = median(before) if len(before) >= LEAST_RUNS else None
    factor = round(newest / usual, 3) if usual and newest is not None else None
    return {"newest": newest, "median": usual, "factor": factor}


def shows_little(run: Mapping[str, Any]) -> bool:
    """Whether it found nothing due, or verified what was named while others are known to be bad: no proof that all
    works again."""
    facts = run.get("facts") or {}
    return bool(run.get("idle")) or (facts.get("whole") is False and facts.get("left_bad") != 0)


def failing_series(runs: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The last run of each kind of work that failed last; one that only had to wait for another is passed over, and so
    is what :func:`shows_little`.

    A kind of work is what :func:`series_of` says of runs that worked; those that failed before they knew what they
    were about count for their whole operation, and any good run of it after that ends them.
    """
    last: dict[str, dict[str, Any]] = {}
    for run in runs:
        if run["result"] == RUNNING or run.get("code") == "busy" or run["operation"] == "notify":
            continue
        if shows_little(run) and run["result"] not in BAD:
            continue
        name = series_of(run) if run.get("facts") else str(run["operation"])
        if run["result"] in BAD:
            if run["operation"] == "archive-push" and run["facts"].get("ended"):
                last.pop(name, None)
                continue
            last[name] = {**run, "series": name}
        else:
            last.pop(name, None)
            last.pop(str(run["operation"]), None)
            if run["operation"] == "backup":
                # Full or incremental: there is a backup again.
                for kind in [one for one in last if one.startswith("backup/")]:
                    last.pop(kind)
    return list(last.values())
