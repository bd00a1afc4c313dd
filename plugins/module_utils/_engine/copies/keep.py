# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a copy keeps: the rules of the repository's own expiry, from what its sheets tell. Pure.

Never believed is a clock, of whatever host: age is what was lived through since, in the order of WAL, as the
repository counts it (:mod:`.lived`). One backup from a clock that is years ahead or behind makes nothing older than it
is. Kept are the ``full_count`` newest full backups from which the present can be reached, and all that is younger than
the oldest of them; every backup of the window and, for each timeline that lived in it, the newest good one before it;
what those are built on; what is pinned. What is damaged or lacks WAL is not counted upon. WAL stays from the first
segment that any of that needs on, whatever its timeline (positions only grow, so that keeps too much rather than too
little), and the stretches that make older kept backups consistent. Histories always stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..core.clock import parse_utc
from ..core.errors import KeeperError, Refused
from ..repository.dumps import Dump
from ..retention.ages import Age, Chronicle, Place, Sign
from ..retention.generations import choose_generations
from ..retention.policy import DumpPolicy, Policy
from ..wal.lsn import parse_lsn
from .branches import Branches, Held, fit
from .choice import number_of
from .lived import ages_of, chronicle, forgotten, last_places, place_of, present, unsure
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
    #: What has to be remembered of the life so far, before anything goes.
    lived: Sequence[Sign] = ()
    before: Sequence[Sign] = ()


def plan_keep(
    base: Policy, dumps: DumpPolicy | None, sheets: Mapping[str, Sheet], loose: Mapping[str, int]
) -> KeepPlan:
    """``loose``: stored WAL that is on no sheet, with its bytes."""
    going = [name for name, sheet in sheets.items() if sheet.state == GOING]
    held = [_held(sheet) for sheet in sheets.values() if sheet.kind == BASE and sheet.state == WHOLE]
    backups = sorted((one for one in held if one is not None), key=lambda one: (one.ended, one.label))
    view = _View.of(base, backups, sheets, loose)
    why = _choose(base, view) if backups else {}
    whole = {sheet.group for sheet in sheets.values() if sheet.kind == BASE and sheet.state == WHOLE}
    readable = {one.group for one in backups}
    for group in whole - readable:
        why[group] = "held"
    doomed = [one for one in backups if one.group not in why]
    floors = _floors(base, view, why)
    wal = [] if whole - readable else _wal(view, why, floors, sheets, loose)
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
    memory, before = view.life.memory(), forgotten(view.life, sheets)
    return KeepPlan(groups, tuple(sorted(wal)), why, freed, floors, memory, before)


def prove_keep(plan: KeepPlan, sheets: Mapping[str, Sheet], loose: Mapping[str, int]) -> None:
    """Said another way than it was chosen. Raises :class:`Refused` (``expiry-unsafe``): nothing is deleted then.

    The newest full backup of each line that may be alive stays with its WAL; every backup that stays has all that it is
    built on, and of the WAL that it needs to be consistent all that was there before; no gap opens behind the first
    that is needed.
    """
    gone, lost = set(plan.groups), set(plan.wal)
    held = [_held(sheet) for sheet in sheets.values() if sheet.kind == BASE and sheet.state == WHOLE]
    backups = [one for one in held if one is not None]
    stays = {one.label: one for one in backups if one.group not in gone}
    backups.sort(key=lambda one: (one.ended, one.label))
    for line in _View.of(Policy(), backups, sheets, loose).newest_full(1):
        if line and line[0].label not in stays:
            raise _unsafe(f"the newest full backup, {line[0].label}, would go")
    labels = {one.label for one in backups}
    for one in stays.values():
        # What it is built on may have been lost before: nobody counts upon it then.
        if one.parent in labels and one.parent not in stays:
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


@dataclass(frozen=True)
class _View:
    """What all decisions look at: ``good`` are backups that a restore could start from; ``last`` the last sign of life
    of each (system, timeline), ``present`` those of them that may be alive, ``unsure`` those that nobody could date."""

    backups: Sequence[Held]
    good: Sequence[Held]
    branches: Mapping[str, Branches]
    life: Chronicle
    last: Mapping[tuple[str, int], Place]
    present: frozenset[tuple[str, int]]
    unsure: frozenset[tuple[str, int]]

    @classmethod
    def of(
        cls, base: Policy, backups: Sequence[Held], sheets: Mapping[str, Sheet], loose: Mapping[str, int]
    ) -> _View:
        branches = _branches(backups, sheets, loose)
        life = chronicle(backups, branches, sheets, float(base.window_seconds or 0))
        last = last_places(backups, branches, sheets)
        now, undated = frozenset(present(last, life)), frozenset(unsure(last, life))
        return cls(backups, fit(backups, branches), branches, life, last, now, undated)

    def leading(self, line: tuple[str, int], among: Sequence[Held]) -> list[Held]:
        """Those of them that lead to a timeline, in the order of their positions."""
        system, timeline = line
        found = [one for one in among if one.system == system and self.branches[system].leads(one, timeline)]
        return sorted(found, key=lambda one: (one.stop, one.label))

    def newest_full(self, count: int) -> list[list[Held]]:
        """The newest full backups of each line that may be alive, so many or as many as there are."""
        return [
            [one for one in self.leading(line, self.good) if one.full][-count:]
            for line in sorted(self.present)
        ]

    def young(self, one: Held, age: Age) -> bool:
        """Whether it is not older, by the seconds that were lived since."""
        return self.life.age(place_of(one)).seconds <= age.seconds

    def needed(self, age: Age, among: Sequence[Held]) -> tuple[list[Held], list[Held]]:
        """For each timeline that lives or was lived on since: the newest backup that is so old, and those after it."""
        anchors: list[Held] = []
        later: list[Held] = []
        for line, place in self.last.items():
            dated = line not in self.present and line not in self.unsure
            if dated and self.life.age(place).seconds > age.seconds:
                continue
            leading = self.leading(line, among)
            ages = ages_of(leading, self.life)
            first = next((number for number in reversed(range(len(ages))) if ages[number] >= age), None)
            anchors += [leading[first]] if first is not None else []
            later += leading[0 if first is None else first + 1 :]
        return anchors, later


def _choose(base: Policy, view: _View) -> dict[str, str]:
    """Group -> why it stays. Counted are those that a restore of the present could start
    from; while there are fewer than asked for everything stays."""
    why: dict[str, str] = {}
    counted = view.newest_full(base.full_count)
    for one in [one for line in counted for one in line]:
        why[one.group] = "count"
    if any(len(line) < base.full_count for line in counted):
        return {one.group: why.get(one.group, "few") for one in view.backups}
    age = max(
        [Age(float(base.window_seconds or 0)), *(view.life.span(place_of(line[0])) for line in counted)]
    )
    anchors, later = view.needed(age, view.good)
    for one in view.backups:
        if view.young(one, age):
            why.setdefault(one.group, "window")
        if one.pinned:
            why.setdefault(one.group, "pinned")
    for one in later:
        why.setdefault(one.group, "window")
    for one in anchors:
        why.setdefault(one.group, "anchor")
    by_label = {one.label: one for one in view.backups}
    for one in view.backups:
        parent = one.parent if one.group in why else None
        while parent is not None and parent in by_label:
            why.setdefault(by_label[parent].group, "chain")
            parent = by_label[parent].parent
    return why


def _floors(base: Policy, view: _View, why: Mapping[str, str]) -> dict[str, int]:
    """System -> the first segment that is needed for the moments of the window."""
    kept = [one for one in view.backups if one.group in why]
    need = {one.system: [other for other in kept if other.system == one.system] for one in kept}
    if base.wal_seconds is not None:
        age = Age(float(base.wal_seconds))
        anchors, later = view.needed(age, [one for one in view.good if one.group in why])
        young = [*(one for one in kept if view.young(one, age)), *anchors, *later]
        for system, mine in need.items():
            need[system] = [one for one in young if one.system == system] or mine[-1:]
    return {system: min(one.segments.start for one in mine) for system, mine in need.items()}


def _wal(
    view: _View,
    why: Mapping[str, str],
    floors: Mapping[str, int],
    sheets: Mapping[str, Sheet],
    loose: Mapping[str, int],
) -> list[str]:
    """Keys of archived files that nothing needs. Of a system without any backup nothing is known, so all stays; so does
    what is on a line that may be alive and has no backup yet: it began before the first that is kept, and without it
    nobody would know any more that it is the present."""
    sizes = {one.system: one.segment_bytes for one in view.backups}
    begun = {line for line in view.present if not view.leading(line, view.good)}
    needed = {(one.system, number) for one in view.backups if one.group in why for number in one.segments}
    keys = [key for sheet in sheets.values() if sheet.kind == WAL for key in sheet.objects] + list(loose)
    doomed = []
    for key in keys:
        parts = key.split("/")
        if len(parts) != 4 or parts[1] not in sizes:
            continue
        number = number_of(key, sizes[parts[1]])
        if number is None or (parts[1], number) in needed or (parts[1], int(parts[2], 16)) in begun:
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
            system=str(int(facts["system_id"])),
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
