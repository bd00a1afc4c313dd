# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a copy keeps: the rules of the repository's own expiry, from what its sheets tell. Pure.

Never believed is a clock: the window is counted back from the newest backup or segment that the copy has. Kept are the
``full_count`` newest full backups from which the present can be reached, and all that is younger than the oldest of
them; every backup of the window and, for each timeline that lived in it, the newest good one before it; what those are
built on; what is pinned. What is damaged or lacks WAL is not counted upon. WAL stays from the first segment that any of
that needs on, whatever its timeline (positions only grow, so that keeps too much rather than too little), and the
stretches that make older kept backups consistent. Histories always stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone

from ..core.clock import parse_utc
from ..core.errors import KeeperError, Refused
from ..repository.dumps import Dump
from ..retention.generations import choose_generations
from ..retention.policy import DumpPolicy, Policy
from ..wal.lsn import parse_lsn
from .branches import Branches, Held, fit
from .choice import number_of
from .objects import BASE, DUMP, WAL
from .sheets import GOING, WHOLE, Sheet


@dataclass(frozen=True)
class KeepPlan:
    """What goes: groups (what is built on others first), and archived files by their key. ``why`` tells of the rest."""

    groups: tuple[str, ...] = ()
    wal: tuple[str, ...] = ()
    why: Mapping[str, str] = field(default_factory=dict)
    freed_bytes: int = 0
    floors: Mapping[str, int] = field(default_factory=dict)


def plan_keep(
    base: Policy, dumps: DumpPolicy | None, sheets: Mapping[str, Sheet], loose: Mapping[str, int]
) -> KeepPlan:
    """``loose``: stored WAL that is on no sheet, with its bytes."""
    going = [name for name, sheet in sheets.items() if sheet.state == GOING]
    held = [_held(sheet) for sheet in sheets.values() if sheet.kind == BASE and sheet.state == WHOLE]
    backups = sorted((one for one in held if one is not None), key=lambda one: (one.ended, one.label))
    branches = _branches(backups, sheets, loose)
    good = fit(backups, branches)
    why = _choose(base, backups, good, branches, sheets)
    whole = {sheet.group for sheet in sheets.values() if sheet.kind == BASE and sheet.state == WHOLE}
    readable = {one.group for one in backups}
    for group in whole - readable:
        why[group] = "held"
    doomed = [one for one in backups if one.group not in why]
    floors = _floors(base, backups, good, branches, why, sheets)
    wal = [] if whole - readable else _wal(backups, why, floors, sheets, loose)
    gone_dumps = _dumps(dumps, sheets, why)
    sizes = {
        key: kept.bytes
        for sheet in sheets.values()
        if sheet.kind == WAL
        for key, kept in sheet.objects.items()
    }
    sizes.update(loose)
    groups = (*going, *(one.group for one in _children_first(doomed)), *gone_dumps)
    freed = sum(sheets[name].stored_bytes for name in groups) + sum(sizes[key] for key in wal)
    return KeepPlan(groups, tuple(sorted(wal)), why, freed, floors)


def prove_keep(plan: KeepPlan, sheets: Mapping[str, Sheet], loose: Mapping[str, int]) -> None:
    """Said another way than it was chosen. Raises :class:`Refused` (``expiry-unsafe``): nothing is deleted then.

    The newest full backup of the copy stays with its WAL; every backup that stays has all that it is built on, and of
    the WAL that it needs to be consistent all that was there before; no gap opens behind the first that is needed.
    """
    gone, lost = set(plan.groups), set(plan.wal)
    held = [_held(sheet) for sheet in sheets.values() if sheet.kind == BASE and sheet.state == WHOLE]
    backups = [one for one in held if one is not None]
    stays = {one.label: one for one in backups if one.group not in gone}
    backups.sort(key=lambda one: (one.ended, one.label))
    branches = _branches(backups, sheets, loose)
    full = _newest_full(backups, fit(backups, branches), branches) if backups else []
    if full and full[-1].label not in stays:
        raise _unsafe(f"the newest full backup, {full[-1].label}, would go")
    for one in stays.values():
        if one.parent is not None and one.parent not in stays:
            raise _unsafe(f"backup {one.label} is built on {one.parent}, which would go")
        for key in lost:
            number = number_of(key, one.segment_bytes) if key.startswith(f"wal/{one.system}/") else None
            if number in one.segments and int(key.rpartition("/")[2][:8], 16) <= one.timeline:
                raise _unsafe(f"backup {one.label} needs {key}, which would go")
    sizes = {one.system: one.segment_bytes for one in backups}
    for key in lost:
        system = key.split("/")[1]
        number = number_of(key, sizes.get(system, 1 << 24))
        if system in plan.floors and (number is None or number >= plan.floors[system]):
            raise _unsafe(f"{key} is not older than what is needed, and would go")
        if key.endswith(".history"):
            raise _unsafe(f"{key} would go")


def _branches(
    backups: Sequence[Held], sheets: Mapping[str, Sheet], loose: Mapping[str, int]
) -> dict[str, Branches]:
    sizes = {one.system: one.segment_bytes for one in backups}
    return {system: Branches.of(system, size, sheets, loose) for system, size in sizes.items()}


def _choose(
    base: Policy,
    backups: Sequence[Held],
    good: Sequence[Held],
    branches: Mapping[str, Branches],
    sheets: Mapping[str, Sheet],
) -> dict[str, str]:
    """Group -> why it stays. Counted are those that a restore of the present could start from."""
    why: dict[str, str] = {}
    if not backups:
        return why
    since = _since(backups, sheets, base.window_seconds)
    counted = _newest_full(backups, good, branches)
    for one in counted[-base.full_count :]:
        why[one.group] = "count"
    if len(counted) < base.full_count:
        return {one.group: why.get(one.group, "few") for one in backups}
    first = counted[-base.full_count].ended
    edge = min(first, since) if since is not None else first
    for one in backups:
        if one.ended >= edge:
            why.setdefault(one.group, "window")
        if one.pinned:
            why.setdefault(one.group, "pinned")
    for one in _anchors(edge, backups, good, branches):
        why.setdefault(one.group, "anchor")
    by_label = {one.label: one for one in backups}
    for one in backups:
        parent = one.parent if one.group in why else None
        while parent is not None and parent in by_label:
            why.setdefault(by_label[parent].group, "chain")
            parent = by_label[parent].parent
    return why


def _newest_full(
    backups: Sequence[Held], good: Sequence[Held], branches: Mapping[str, Branches]
) -> list[Held]:
    """The full backups on the way to the present, in the order of their positions."""
    present = backups[-1].system
    mine = branches[present]
    current = mine.current([one for one in backups if one.system == present])
    found = [one for one in good if one.full and one.system == present and mine.leads(one, current)]
    return sorted(found, key=lambda one: (one.stop, one.label))


def _since(backups: Sequence[Held], sheets: Mapping[str, Sheet], seconds: int | None) -> datetime | None:
    """The beginning of a window that ends with the newest thing that the copy has."""
    if seconds is None:
        return None
    newest = max(backups[-1].ended, _wal_time(sheets) or backups[-1].ended)
    return newest - timedelta(seconds=seconds)


def _wal_time(sheets: Mapping[str, Sheet]) -> datetime | None:
    times = [
        kept.modified_at for sheet in sheets.values() if sheet.kind == WAL for kept in sheet.objects.values()
    ]
    return datetime.fromtimestamp(max(times), timezone.utc) if times else None


def _anchors(
    edge: datetime, backups: Sequence[Held], good: Sequence[Held], branches: Mapping[str, Branches]
) -> list[Held]:
    """For each timeline with something younger than ``edge``: the newest backup before it, from which the window is
    reached, on the timeline itself or an ancestor up to the fork."""
    found: dict[str, Held] = {}
    for system, timeline in _living(edge, backups, branches):
        usable = [
            one
            for one in good
            if one.system == system and one.ended <= edge and branches[system].leads(one, timeline)
        ]
        if usable:
            best = max(usable, key=lambda one: (one.stop, one.label))
            found[best.group] = best
    return list(found.values())


def _living(
    edge: datetime, backups: Sequence[Held], branches: Mapping[str, Branches]
) -> set[tuple[str, int]]:
    """Timelines with a backup or a segment that is younger, and the one of the present."""
    found = {(one.system, one.timeline) for one in backups if one.ended >= edge}
    present = backups[-1].system
    found.add((present, branches[present].current([one for one in backups if one.system == present])))
    moment = edge.timestamp()
    for system, mine in branches.items():
        found |= {(system, timeline) for (timeline, _number), at in mine.files.items() if at >= moment}
    return found


def _floors(
    base: Policy,
    backups: Sequence[Held],
    good: Sequence[Held],
    branches: Mapping[str, Branches],
    why: Mapping[str, str],
    sheets: Mapping[str, Sheet],
) -> dict[str, int]:
    """System -> the first segment that is needed for the moments of the window."""
    floors: dict[str, int] = {}
    kept = [one for one in backups if one.group in why]
    since = _since(backups, sheets, base.wal_seconds) if backups else None
    for system in {one.system for one in kept}:
        mine = [one for one in kept if one.system == system]
        need = mine
        if since is not None:
            need = [one for one in mine if one.ended >= since]
            stays = [one for one in good if one.group in why]
            need += [one for one in _anchors(since, backups, stays, branches) if one.system == system]
            need = need or mine[-1:]
        floors[system] = min(one.segments.start for one in need)
    return floors


def _wal(
    backups: Sequence[Held],
    why: Mapping[str, str],
    floors: Mapping[str, int],
    sheets: Mapping[str, Sheet],
    loose: Mapping[str, int],
) -> list[str]:
    """Keys of archived files that nothing needs. Of a system without any backup nothing is known, so all stays."""
    sizes = {one.system: one.segment_bytes for one in backups}
    needed = {(one.system, number) for one in backups if one.group in why for number in one.segments}
    keys = [key for sheet in sheets.values() if sheet.kind == WAL for key in sheet.objects] + list(loose)
    doomed = []
    for key in keys:
        parts = key.split("/")
        if len(parts) != 4 or parts[1] not in sizes:
            continue
        number = number_of(key, sizes[parts[1]])
        if number is None or (parts[1], number) in needed:
            continue
        if parts[1] not in floors or number < floors[parts[1]]:
            doomed.append(key)
    return doomed


def _dumps(policy: DumpPolicy | None, sheets: Mapping[str, Sheet], why: dict[str, str]) -> list[str]:
    """Dumps that no generation keeps, by the very choice of the repository's own expiry."""
    series: dict[object, list[Dump]] = {}
    for sheet in sheets.values():
        if sheet.kind != DUMP or sheet.state != WHOLE:
            continue
        try:
            one = Dump.from_dict(sheet.facts, key=sheet.group)
        except KeeperError:
            why[sheet.group] = "held"
            continue
        series.setdefault((one.database, one.series, one.kind, one.selection), []).append(one)
    doomed = []
    for group in series.values():
        group.sort(key=lambda one: one.sequence)
        chosen = choose_generations(policy.of(group[0].kind), group) if policy else {}
        for one in group:
            if policy is None or one.key in chosen or one.pinned:
                why[one.key] = chosen.get(one.key, "pinned" if one.pinned else "no-policy")
            else:
                doomed.append(one.key)
    return sorted(doomed)


def _held(sheet: Sheet) -> Held | None:
    """None: it cannot be understood, and so it stays with all WAL."""
    facts = sheet.facts
    try:
        return Held(
            group=sheet.group,
            label=str(facts["label"]),
            full=facts["kind"] == "full",
            parent=facts.get("parent"),
            pinned=bool(facts.get("pinned")),
            system=str(facts["system_id"]),
            timeline=int(facts["timeline"]),
            start=parse_lsn(str(facts["start_lsn"])),
            stop=parse_lsn(str(facts["stop_lsn"])),
            ended=parse_utc(str(facts["stopped_at"])),
            segment_bytes=int(facts["wal_segment_size"]),
            sound=facts.get("page_faults") is None and facts.get("unsound") is None,
        )
    except (KeyError, TypeError, ValueError, KeeperError):
        return None


def _children_first(doomed: Sequence[Held]) -> list[Held]:
    by_label = {one.label: one for one in doomed}

    def depth(one: Held) -> int:
        parent, number = one.parent, 0
        while parent in by_label and number <= len(by_label):
            parent, number = by_label[str(parent)].parent, number + 1
        return number

    return sorted(doomed, key=lambda one: (-depth(one), one.label))


def _unsafe(happened: str) -> Refused:
    return Refused(
        "expiry-unsafe",
        attempted="prove that what stays in the copy can do all that was promised",
        happened=f"{happened}; nothing was deleted",
        remedy="Keep the copy as it is and report this with 'dbkeeper copy --dry-run --json'.",
    )


def marked(sheet: Sheet) -> Sheet:
    """From here on nobody brings it back."""
    return replace(sheet, state=GOING)
