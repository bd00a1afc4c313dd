# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""When the repository's disk will be full: samples of its free space, and the slope through those of the last days."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from ..core.clock import format_utc, parse_utc
from ..core.files import make_directory, write_json

_FILE = "space.json"
#: Samples are no closer than this, and none is older.
_APART = timedelta(hours=1)
_KEPT = timedelta(days=60)
#: What is looked at: long enough to hold a full backup a week and its expiry, short enough to notice a change.
_LOOKED_AT = timedelta(days=15)
_WEEK = timedelta(days=7)
_LEAST_SPAN = timedelta(days=1)
_LEAST_SAMPLES = 4


@dataclass(frozen=True)
class Sample:
    """Free bytes at a moment."""

    at: datetime
    free_bytes: int


@dataclass(frozen=True)
class Forecast:
    """``days`` until nothing is free at the present pace; None: it does not fill up."""

    days: float | None
    bytes_per_day: float


def forecast(samples: Sequence[Sample], now: datetime) -> Forecast | None:
    """None where too little is known: fewer than four samples, or less than a day between first and last.

    With two weeks on record the lowest points of the last seven days and of the seven before are compared, so that a
    full backup a week and the expiry after it make no trend. With less it is the median of the slopes between all
    pairs that are a day or more apart (Theil and Sen).
    """
    known = [one for one in samples if now - _LOOKED_AT <= one.at <= now]
    if len(known) < _LEAST_SAMPLES or known[-1].at - known[0].at < _LEAST_SPAN:
        return None
    weeks = [
        [one.free_bytes for one in known if begin < known[-1].at - one.at + _APART <= begin + _WEEK]
        for begin in (timedelta(0), _WEEK)
    ]
    if known[-1].at - known[0].at >= 2 * _WEEK - _APART and all(weeks):
        pace = (min(weeks[0]) - min(weeks[1])) / _WEEK.days
    else:
        pace = median(_slopes(known)) * 86400
    free = known[-1].free_bytes
    # Less than a thousandth of what is free in a day is noise: it would take years.
    if pace >= 0 or -pace * 1000 < free:
        return Forecast(None, -pace)
    return Forecast(free / -pace, -pace)


def _slopes(known: Sequence[Sample]) -> list[float]:
    # A few hundred samples make tens of thousands of pairs; enough of them are far apart.
    step = max(1, len(known) // 120)
    some = [*known[:-1:step], known[-1]]
    return [
        (late.free_bytes - early.free_bytes) / (late.at - early.at).total_seconds()
        for number, early in enumerate(some)
        for late in some[number + 1 :]
        if late.at - early.at >= _LEAST_SPAN
    ]


def sampled(directory: str, free_bytes: int, now: datetime, *, keep: bool = True) -> list[Sample]:
    """The samples on record with the present one, which is kept (if wanted) when the last is an hour old."""
    path = f"{directory}/{_FILE}"
    known = [one for one in _read(path) if now - _KEPT <= one.at < now]
    present = Sample(now, free_bytes)
    if keep and (not known or now - known[-1].at >= _APART):
        kept = [{"at": format_utc(one.at), "free_bytes": one.free_bytes} for one in [*known, present]]
        # What it costs to lose a sample is a sample.
        with contextlib.suppress(OSError):
            make_directory(directory)
            write_json(path, kept)
    return [*known, present]


def _read(path: str) -> list[Sample]:
    try:
        with open(path, encoding="utf-8") as handle:
            values: Any = json.load(handle)
        found = [Sample(parse_utc(str(one["at"])), int(one["free_bytes"])) for one in values]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return sorted(found, key=lambda one: one.at)


def free_and_total(path: str) -> tuple[int, int]:
    """Bytes that an ordinary user may still take, and the size of the file system. Raises OSError."""
    facts = os.statvfs(path)
    return facts.f_bavail * facts.f_frsize, facts.f_blocks * facts.f_frsize
