# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What earlier runs knew: counters and since when, when things were first seen, runs for curves, known findings.

One file for each system identifier, ``<directory>/<system identifier>/baseline.json.gz``. In it every node (an
instance that was asked) has areas (``index``, ``query``, ``health``); who owns an area writes nothing but that.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..core.clock import format_utc, parse_utc
from ..core.files import make_directory, write_durable
from ..core.locks import locked
from ..core.privilege import as_root
from .finding import Finding
from .finding import Window as Shown

FORMAT = 1
FILE = "baseline.json.gz"
#: Runs that are kept for curves; with one a day that is a quarter of a year.
RUNS_KEPT = 96
#: How long a finding that is gone stays known, so that one that comes back is not called new.
FORGOTTEN_AFTER_DAYS = 90
#: Runs of which a finding remembers whether it was there, and with what figure.
HISTORY = 20
#: A finding that comes back within so many runs has come and gone: it is the same one, and nothing new.
DAMPED_RUNS = 5
_LOCK_SECONDS = 10.0


@dataclass(frozen=True)
class Marks:
    """What must not have changed for counters to go on: who counts, and since when by its own words.

    ``stats_reset`` is the server's own (None: never reset, or not known), ``restarted`` whatever else means that
    counting began anew for this area.
    """

    system_id: str
    timeline: int | None = None
    in_recovery: bool | None = None
    stats_reset: str | None = None
    server_version_num: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class Window:
    """From when to when counters were watched, and why it begins where it does.

    ``why``: ``first-run``, ``stored`` (the counters of ``since`` are at hand), ``system``, ``promotion``, ``reset``,
    ``upgrade``, ``counters`` (they went down) or ``clock`` (it was set back).
    """

    since: datetime
    until: datetime
    why: str

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.until - self.since).total_seconds()

    def shown(self) -> Shown:
        """As a finding has it."""
        return Shown(format_utc(self.since), format_utc(self.until), self.seconds, self.why)


def broken_by(before: Mapping[str, Any], now: Marks) -> str | None:
    """Why counters of then and of now have nothing to do with each other, or None. Pure."""
    if str(before.get("system_id")) != now.system_id:
        return "system"
    old = before.get("server_version_num")
    if old and now.server_version_num and old // 10000 != now.server_version_num // 10000:
        return "upgrade"
    if before.get("timeline") != now.timeline or before.get("in_recovery") != now.in_recovery:
        return "promotion"
    if before.get("stats_reset") != now.stats_reset:
        return "reset"
    return None


def went_down(before: Mapping[str, float], now: Mapping[str, float]) -> bool:
    """Whether a counter that is in both is lower now: it was reset, evicted or lost in a crash. Pure."""
    return any(now[name] < value for name, value in before.items() if name in now)


class Area:
    """One node's share of the baseline that one module owns. All values are JSON values."""

    def __init__(self, kept: Mapping[str, Any] | None = None) -> None:
        kept = kept or {}
        #: Free for the owner: counters by database and key, marks of a snapshot ...
        self.data: dict[str, Any] = dict(kept.get("data", {}))
        self.first_seen: dict[str, str] = dict(kept.get("first_seen", {}))
        self.findings: dict[str, dict[str, Any]] = dict(kept.get("findings", {}))
        self.runs: list[dict[str, Any]] = list(kept.get("runs", []))

    def seen(self, key: str, now: datetime) -> datetime:
        """When an object was first seen (now, if never before). Catalogs hold no time of creation."""
        return parse_utc(self.first_seen.setdefault(key, format_utc(now)))

    def forget(self, keys_there: Iterable[str]) -> None:
        """Keep the first sight of these keys only; the others' objects are gone."""
        there = set(keys_there)
        self.first_seen = {key: value for key, value in self.first_seen.items() if key in there}

    def window(self, marks: Marks, now: datetime, place: str = "window") -> Window:
        """The window that began when ``data[place]`` was last restarted, or one that begins now, and why.

        ``data[place]`` is ``{"since", "marks", ...}``; see :meth:`restart`, which the caller calls for every
        ``why`` but ``stored``.
        """
        kept = self.data.get(place)
        if not kept:
            return Window(now, now, "first-run")
        broken = broken_by(kept["marks"], marks)
        since = parse_utc(kept["since"])
        if broken is None and since > now:
            broken = "clock"
        return Window(now, now, broken) if broken else Window(since, now, "stored")

    def restart(self, marks: Marks, now: datetime, place: str = "window", **content: Any) -> None:
        """Begin a window now, with what the caller keeps in it (``counters=...``)."""
        self.data[place] = {"since": format_utc(now), "marks": marks.to_dict(), **content}

    def add_run(self, now: datetime, figures: Mapping[str, Any]) -> None:
        """Keep a run's figures for curves; the oldest go."""
        self.runs = [*self.runs, {"at": format_utc(now), **figures}][-RUNS_KEPT:]

    def recognise(
        self, findings: Iterable[Finding], accepted: Iterable[Mapping[str, Any]], now: datetime
    ) -> tuple[list[Finding], bool]:
        """The findings with where they stand, and whether one is new, worse or better, gone, or newly accepted.

        That alone makes a run ``changed``: figures move always, and what comes and goes is told of once.
        ``accepted``: ``id``, ``owner``, ``reason``, ``until``.
        """
        here = format_utc(now)
        risks = {str(item["id"]): dict(item) for item in accepted if not _over(item.get("until"), now)}
        told: dict[str, Finding] = {}
        changed = False
        for finding in findings:
            before = self.findings.get(finding.id)
            risk = risks.get(finding.id)
            history = list(before.get("history", [])) if before else []
            back = before is not None and damped(history) if before and before["gone"] else before is not None
            first = before["first_seen"] if before else here
            about = {"severity": finding.severity, "grade": finding.grade}
            kept = {"first_seen": first, "about": about, "accepted": risk}
            changed = changed or not back or {name: (before or {}).get(name) for name in kept} != kept
            history = [*history, figure(finding.value)][-HISTORY:]
            self.findings[finding.id] = {**kept, "gone": None, "history": history}
            told[finding.id] = finding.stand(
                first, known=back, accepted=risk, runs=told_of(history, finding.value)
            )
        for identity, before in list(self.findings.items()):
            if identity in told:
                continue
            history = list(before.get("history", []))
            gone = before["gone"] or here
            if not before["gone"]:
                changed = changed or None not in history
            if before["gone"] is None or len(history) < HISTORY or damped(history):
                self.findings[identity] = {**before, "gone": gone, "history": [*history, None][-HISTORY:]}
            if (now - parse_utc(gone)).days >= FORGOTTEN_AFTER_DAYS:
                del self.findings[identity]
        return list(told.values()), changed

    def to_dict(self) -> dict[str, Any]:
        """JSON."""
        return {
            "data": self.data,
            "first_seen": self.first_seen,
            "findings": self.findings,
            "runs": self.runs,
        }


def figure(value: Mapping[str, Any]) -> float:
    """What a finding's curve is made of: the first number of its value, of four digits; 1 where it has none."""
    name = _curve(value)
    return float(f"{float(value[name]):.4g}") if name else 1.0


def _curve(value: Mapping[str, Any]) -> str | None:
    numbers = (
        name for name, part in value.items() if isinstance(part, (int, float)) and not isinstance(part, bool)
    )
    return next(numbers, None)


def damped(history: Sequence[float | None]) -> bool:
    """Whether something was there in one of the last runs, though it may not be now. Pure."""
    return any(one is not None for one in history[-DAMPED_RUNS:])


def told_of(history: Sequence[float | None], value: Mapping[str, Any]) -> dict[str, Any]:
    """How often a finding was there, and its figures: ``seen`` ``of`` runs, ``values`` of ``key``. Pure."""
    seen = sum(one is not None for one in history)
    return {"seen": seen, "of": len(history), "key": _curve(value), "values": list(history)}


def _over(until: Any, now: datetime) -> bool:
    """Whether an acceptance has ended; ``until`` is a day, which is its last, or a moment in UTC."""
    if not until:
        return False
    text = str(until)
    return format_utc(now)[: len(text)] > text


class Baseline:
    """The file. ``unreadable`` says why one that is there could not be read; it is then begun anew."""

    def __init__(self, file: str, nodes: Mapping[str, Any], unreadable: str | None = None) -> None:
        self.file = file
        self.unreadable = unreadable
        self._nodes = nodes

    @classmethod
    def load(cls, directory: str, system_id: str) -> Baseline:
        """What is stored for a system; an empty one when nothing is."""
        file = os.path.join(directory, str(system_id), FILE)
        nodes, unreadable = _read(file)
        return cls(file, nodes, unreadable)

    def area(self, node: str, name: str) -> Area:
        """One area of one node, as it was stored."""
        return Area(self._nodes.get(node, {}).get(name))

    def store(self, node: str, name: str, area: Area, *, check: bool) -> dict[str, Any]:
        """Write the area, keeping what others have written meanwhile; in check mode nothing.

        Result: ``file``, ``stored``, ``runs``, and ``why`` when it could not be stored. The file's mode is 0600.
        """
        told: dict[str, Any] = {"file": self.file, "stored": False, "runs": len(area.runs)}
        if check:
            return told
        try:
            with as_root():
                self._write(node, name, area)
        except OSError as error:
            return {**told, "why": f"{error.filename or self.file}: {error.strerror or error}"}
        return {**told, "stored": True}

    def _write(self, node: str, name: str, area: Area) -> None:
        make_directory(os.path.dirname(self.file), 0o700)
        with locked(f"{self.file}.lock", "store", attempted="store the baseline", patience=_LOCK_SECONDS):
            nodes, unreadable = _read(self.file)
            if unreadable:
                os.replace(self.file, f"{self.file}.damaged")
            nodes = {**nodes, node: {**nodes.get(node, {}), name: area.to_dict()}}
            text = json.dumps({"format": FORMAT, "nodes": nodes}, ensure_ascii=False)
            write_durable(self.file, gzip.compress(text.encode("utf-8", "surrogatepass"), 6, mtime=0), 0o600)


def _read(file: str) -> tuple[dict[str, Any], str | None]:
    try:
        with as_root(), gzip.open(file, "rb") as handle:
            kept = json.loads(handle.read())
        if kept.get("format") != FORMAT:
            return {}, f"it has format {kept.get('format')}, this version knows {FORMAT}"
        return dict(kept["nodes"]), None
    except FileNotFoundError:
        return {}, None
    except (OSError, EOFError, ValueError, KeyError, AttributeError, TypeError, zlib.error) as error:
        return {}, f"{type(error).__name__}: {error}"
