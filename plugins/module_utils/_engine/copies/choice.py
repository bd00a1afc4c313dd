# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What has to be fetched for a target: the newest backup before it, what that is built on, and the WAL after it. Pure.

Sheets do not know commits; they know when a segment was finished. A segment that was finished before a moment cannot
hold a commit of a later one, so WAL goes on until well behind the target.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..core.clock import format_utc, parse_utc
from ..core.errors import Refused
from ..wal.lsn import format_lsn, parse_lsn
from ..wal.segment import parse_segment, segment_of
from .objects import BASE, DUMP, WAL
from .sheets import WHOLE, Kept, Sheet

#: How long after a target WAL is taken at least: an archiver may have been behind.
_BEHIND_SECONDS = 3600.0
_SEGMENTS_BEHIND = 3
_SEGMENT_DIGITS = 24


@dataclass(frozen=True)
class BackTarget:
    """One of: a moment, a position, the newest. All None and not ``latest``: everything is wanted."""

    moment: datetime | None = None
    lsn: int | None = None
    latest: bool = False

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return self.moment is None and self.lsn is None and not self.latest


@dataclass(frozen=True)
class Wanted:
    """Groups that are fetched, in order, each with the keys of its objects."""

    groups: tuple[tuple[Sheet, tuple[str, ...]], ...]
    backups: tuple[str, ...]
    bytes: int


def choose_back(sheets: Mapping[str, Sheet], target: BackTarget) -> Wanted:
    """Raises :class:`Refused` ``copy-nothing``."""
    whole = [sheet for _name, sheet in sorted(sheets.items()) if sheet.state == WHOLE]
    wal = [sheet for _name, sheet in sorted(sheets.items()) if sheet.kind == WAL]
    bases = {str(one.facts["label"]): one for one in whole if one.kind == BASE}
    if target.everything:
        chosen = [*wal, *_in_order(bases), *(one for one in whole if one.kind not in (WAL, BASE))]
        return _wanted([(one, tuple(one.objects)) for one in chosen])
    backup = _newest(bases, target)
    chain = _chain(bases, backup)
    groups = [(one, keys) for one in wal if (keys := _segments(one, wal, backup, target))]
    groups += [(one, tuple(one.objects)) for one in chain]
    groups += [(one, tuple(one.objects)) for one in whole if one.kind not in (WAL, BASE, DUMP)]
    return _wanted(groups)


def _wanted(groups: list[tuple[Sheet, tuple[str, ...]]]) -> Wanted:
    labels = tuple(str(one.facts["label"]) for one, _keys in groups if one.kind == BASE)
    size = sum(sheet.objects[key].plain_bytes for sheet, keys in groups for key in keys)
    return Wanted(tuple(groups), labels, size)


def _in_order(bases: Mapping[str, Sheet]) -> list[Sheet]:
    """A backup after what it is built on."""
    return sorted(bases.values(), key=lambda one: (str(one.facts["started_at"]), one.group))


def _newest(bases: Mapping[str, Sheet], target: BackTarget) -> Sheet:
    """The newest backup that ended before the target and whose chain is whole (fault F08)."""
    fit = []
    for one in bases.values():
        ended, stop = one.facts.get("stopped_at"), one.facts.get("stop_lsn")
        if ended is None or stop is None or not _chain_is_whole(bases, one):
            continue
        if target.moment is not None and parse_utc(str(ended)) > target.moment:
            continue
        if target.lsn is not None and parse_lsn(str(stop)) > target.lsn:
            continue
        fit.append((parse_utc(str(ended)), one.group, one))
    if fit:
        return max(fit, key=lambda item: item[:2])[2]
    ends = sorted(str(one.facts["stopped_at"]) for one in bases.values() if one.facts.get("stopped_at"))
    asked = "the newest moment"
    if target.moment is not None:
        asked = format_utc(target.moment)
    elif target.lsn is not None:
        asked = format_lsn(target.lsn)
    raise Refused(
        "copy-nothing",
        attempted=f"bring back what a restore to {asked} needs",
        happened="the copy has no whole backup from before it"
        + (f"; the oldest of its backups ended {ends[0]}" if ends else "; it has no backup at all"),
        remedy="Choose a later target, or another copy (dbkeeper copy --list shows what each has).",
        details={"backups": ends},
    )


def _chain_is_whole(bases: Mapping[str, Sheet], one: Sheet) -> bool:
    try:
        _chain(bases, one)
    except KeyError:
        return False
    return True


def _chain(bases: Mapping[str, Sheet], one: Sheet) -> list[Sheet]:
    """It and all that it is built on, the full one first. Raises KeyError where a link is missing."""
    found = [one]
    while found[-1].facts.get("parent") is not None:
        found.append(bases[str(found[-1].facts["parent"])])
    return found[::-1]


def _segments(sheet: Sheet, all_wal: Iterable[Sheet], backup: Sheet, target: BackTarget) -> tuple[str, ...]:
    """What of a group of WAL is needed: histories all, segments from the backup's first on."""
    system = f"wal/{backup.facts['system_id']}/"
    if not sheet.group.startswith(system):
        return ()
    if sheet.group == f"{system}histories":
        return tuple(sheet.objects)
    size = int(backup.facts["wal_segment_size"])
    first = segment_of(parse_lsn(str(backup.facts["start_lsn"])), size)
    last = None if target.lsn is None else segment_of(target.lsn, size) + _SEGMENTS_BEHIND
    until = None if target.moment is None else _until(all_wal, system, target.moment.timestamp())
    keys = []
    for key, kept in sheet.objects.items():
        number = number_of(key, size)
        if number is None or number < first:
            continue
        if (last is not None and number > last) or (until is not None and kept.modified_at > until):
            continue
        keys.append(key)
    return tuple(keys)


def _until(all_wal: Iterable[Sheet], system: str, moment: float) -> float:
    later = sorted(
        kept.modified_at
        for sheet in all_wal
        if sheet.group.startswith(system) and not sheet.group.endswith("/histories")
        for kept in sheet.objects.values()
        if kept.modified_at > moment
    )
    nearest = later[:_SEGMENTS_BEHIND][-1:] or [moment]
    return max(nearest[0], moment + _BEHIND_SECONDS)


def number_of(key: str, size: int) -> int | None:
    """The number of the segment that an archived file is about; None when its name is none of this size."""
    try:
        return parse_segment(key.rpartition("/")[2][:_SEGMENT_DIGITS], size).number
    except Refused:
        return None


def listing(sheets: Mapping[str, Sheet]) -> dict[str, Any]:
    """What a copy holds, as JSON values: backups, dumps, and WAL by timeline."""
    whole = [sheet for _name, sheet in sorted(sheets.items()) if sheet.state == WHOLE]
    told = (
        "label",
        "kind",
        "parent",
        "system_id",
        "timeline",
        "start_lsn",
        "stop_lsn",
        "started_at",
        "stopped_at",
    )
    wal: dict[str, dict[str, Any]] = {}
    for sheet in sheets.values():
        if sheet.kind == WAL and not sheet.group.endswith("/histories"):
            place = sheet.group.rpartition("/")[0]
            names = sorted(key.rpartition("/")[2][:_SEGMENT_DIGITS] for key in sheet.objects)
            one = wal.setdefault(
                place, {"first": names[0] if names else "", "last": "", "files": 0, "bytes": 0}
            )
            one["first"] = min([one["first"], *names[:1]])
            one["last"] = max([one["last"], *names[-1:]])
            one["files"] += len(names)
            one["bytes"] += sheet.stored_bytes
    return {
        "backups": [
            {**{name: one.facts.get(name) for name in told}, "stored_bytes": one.stored_bytes}
            for one in whole
            if one.kind == BASE
        ],
        "dumps": [
            {
                "key": one.group,
                **{name: one.facts.get(name) for name in ("database", "label", "series", "started_at")},
                "stored_bytes": one.stored_bytes,
            }
            for one in whole
            if one.kind == DUMP
        ],
        "wal": [{"archive": place, **wal[place]} for place in sorted(wal)],
        "bytes": sum(sheet.stored_bytes for sheet in sheets.values()),
    }


def unlisted(sheets: Mapping[str, Sheet], there: Mapping[str, int]) -> dict[str, int]:
    """WAL that archive-push has stored in a copy and no run of ``dbkeeper copy`` has seen yet."""
    known = {kept.name for sheet in sheets.values() for kept in sheet.objects.values()}
    return {name: size for name, size in there.items() if name.startswith("wal/") and name not in known}


__all__ = ["BackTarget", "Kept", "Wanted", "choose_back", "listing", "number_of", "unlisted"]
