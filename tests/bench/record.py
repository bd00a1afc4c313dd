# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a measurement leaves: rows, a file of them, a table."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """One line of the table. ``budget`` is in words; ``met`` says whether it is kept."""

    row: str
    ours_seconds: float
    other: str
    other_seconds: float | None
    ratio: float | None
    budget: str
    met: bool
    runs: dict[str, list[float]] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)


def compared(
    row: str, other: str, runs: dict[str, list[float]], most: float, ours: str = "ours", **notes: Any
) -> Row:
    """A row whose budget is a ratio: the medians of what was run alternately."""
    mine, theirs = statistics.median(runs[ours]), statistics.median(runs[other])
    ratio = mine / theirs
    kept = {ours: runs[ours], other: runs[other]}
    return Row(
        row,
        round(mine, 3),
        other,
        round(theirs, 3),
        round(ratio, 3),
        f"<= {most:g} x",
        ratio <= most,
        kept,
        notes,
    )


def say(text: str) -> None:
    """A line for whoever watches."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


@contextmanager
def spent(seconds: list[float]) -> Any:
    """Append the wall time of the block, begun with nothing waiting to be written to disk."""
    os.sync()
    begun = time.monotonic()
    yield
    seconds.append(round(time.monotonic() - begun, 3))


@dataclass(frozen=True)
class Turn:
    """What one contestant does; only ``measured`` is."""

    name: str
    measured: Callable[[], object]
    before: Callable[[], None] = lambda: None
    afterwards: Callable[[], None] = lambda: None


def alternately(repeat: int, turns: Sequence[Turn]) -> dict[str, list[float]]:
    """Everybody in turn, ``repeat`` times: wall seconds by name.

    Whoever went first goes last the next time, so that a machine that is slower at times is so for all.
    """
    runs: dict[str, list[float]] = {turn.name: [] for turn in turns}
    for number in range(repeat):
        first = number % len(turns)
        for turn in [*turns[first:], *turns[:first]]:
            turn.before()
            with spent(runs[turn.name]):
                turn.measured()
            say(f"  {turn.name}: {runs[turn.name][-1]:.2f} s")
            turn.afterwards()
    return runs


def machine() -> dict[str, Any]:
    """Where it was measured, and how busy that was."""
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "kernel": platform.release(),
        "processors": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load_average": [round(value, 2) for value in os.getloadavg()],
    }


def table(rows: Sequence[Row]) -> str:
    """The rows for a terminal."""
    lines = [("row", "ours", "other", "its time", "ratio", "budget", "")]
    for row in rows:
        lines.append(
            (
                row.row,
                f"{row.ours_seconds:.2f} s",
                row.other,
                "" if row.other_seconds is None else f"{row.other_seconds:.2f} s",
                "" if row.ratio is None else f"{row.ratio:.3f}",
                row.budget,
                "" if row.met else "MISSED",
            )
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines
    )


def write(path: Path, rows: Sequence[Row]) -> None:
    """A list of rows. Rows of the same name that the file had are replaced, others are kept."""
    kept = json.loads(path.read_text()) if path.exists() else []
    names = {row.row for row in rows}
    values = [item for item in kept if item["row"] not in names] + [asdict(row) for row in rows]
    path.write_text(json.dumps(values, indent=2) + "\n")
