# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Which backups the policy wants, and from which moment on everything is promised. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ..core.errors import KeeperError
from ..repository.catalog import Backup
from ..wal.facts import BackupFacts
from .ages import lived_back, signs_of_life
from .lines import Line, lines, restorable
from .policy import Policy
from .state import RetentionState, SystemState


@dataclass(frozen=True)
class SystemView:
    """One system as the choice sees it. ``held`` says why nothing of it may go; then it has no lines.

    ``current`` are the timelines that the live cluster may be on; none for a system of the past.
    """

    state: SystemState
    usable: tuple[BackupFacts, ...]
    fit: tuple[BackupFacts, ...]
    lines: tuple[Line, ...]
    current: frozenset[int]
    held: KeeperError | None = None


@dataclass(frozen=True)
class Choice:
    """From ``since`` on every moment is promised (None: from the oldest backup on), from ``wal_since`` on with WAL.

    ``wanted``: label -> rule, of the backups that the promise needs; ``floors``: (system, timeline, LSN) from
    which on WAL is needed for it.
    """

    since: datetime | None
    wal_since: datetime | None
    window_since: datetime | None
    counted: frozenset[str]
    wanted: Mapping[str, str]
    floors: tuple[tuple[int, int, int], ...]
    systems: tuple[SystemView, ...]


def choose(policy: Policy, state: RetentionState) -> Choice:
    """Decide from the state alone."""
    facts = {one.label: one.facts() for one in state.catalog.usable() if _complete(one)}
    kinds = {one.label: one.kind for one in state.catalog.backups}
    systems = _views(state, facts)
    archives = [view.state.archive for view in systems if view.state.archive]
    signs = signs_of_life(archives, facts.values(), state.now)
    window = (
        None if policy.window_seconds is None else lived_back(signs, float(policy.window_seconds), state.now)
    )
    counted, count_since = _count(policy, systems, kinds)
    since = None if count_since is None else min(count_since, window or count_since)
    short = None if policy.wal_seconds is None else lived_back(signs, float(policy.wal_seconds), state.now)
    wal_since = since if short is None else max(short, since or short)
    wanted: dict[str, str] = {}
    floors: list[tuple[int, int, int]] = []
    for view in systems:
        for line in view.lines:
            if not _lives(line, view, since):
                continue
            places = line.needed(since)
            anchor = line.anchor(since) if since else None
            for place in places:
                label = line.backups[place].label
                rule = "anchor" if place == anchor else "window"
                if since is None:
                    rule = "few"
                wanted[label] = "count" if label in counted else wanted.get(label, rule)
            floors += [
                (view.state.system_id, line.backups[place].timeline, line.backups[place].start_lsn)
                for place in line.needed(wal_since)
                if place in places
            ]
    return Choice(since, wal_since, window, frozenset(counted), wanted, tuple(floors), systems)


def _complete(backup: Backup) -> bool:
    return None not in (backup.timeline, backup.start_lsn, backup.stop_lsn, backup.stopped_at)


def _lives(line: Line, view: SystemView, since: datetime | None) -> bool:
    """Whether something of the promise lies on the line: the present does, and what was there since then."""
    if since is None or line.timeline in view.current:
        return True
    return line.sign is not None and line.sign >= since


def _views(state: RetentionState, facts: Mapping[str, BackupFacts]) -> tuple[SystemView, ...]:
    found = []
    present = _present(state, facts)
    for system in state.systems:
        usable = tuple(one for one in facts.values() if one.system_id == system.system_id)
        if system.archive is None:
            found.append(SystemView(system, usable, (), (), frozenset(), system.error))
            continue
        labels = restorable(system.archive, usable)
        fit = tuple(one for one in usable if one.label in labels)
        try:
            on = tuple(lines(system.archive, fit, state.now))
        except KeeperError as error:
            found.append(SystemView(system, usable, fit, (), frozenset(), error))
            continue
        current = _current(system, state, on) if system.system_id in present else frozenset()
        found.append(SystemView(system, usable, fit, on, current))
    return tuple(found)


def _present(state: RetentionState, facts: Mapping[str, BackupFacts]) -> frozenset[int]:
    """The system that lives; where nobody says which, that of the newest sign of life, and none is believed gone
    that has a sign of the same age."""
    if state.live is not None:
        return frozenset({state.live[0]})
    newest: dict[int, datetime] = {}
    for system in state.systems:
        mine = [one for one in facts.values() if one.system_id == system.system_id]
        if system.archive is None:
            continue
        signs = signs_of_life([system.archive], mine, state.now)
        if signs:
            newest[system.system_id] = signs[-1]
    latest = max(newest.values(), default=None)
    return frozenset(one for one, sign in newest.items() if sign == latest) or frozenset(
        system.system_id for system in state.systems
    )


def _current(system: SystemState, state: RetentionState, on: Sequence[Line]) -> frozenset[int]:
    """The live timeline, and the newest of the archive: promotions only count upwards."""
    found = {on[-1].timeline} if on else set()
    if state.live is not None and state.live[0] == system.system_id:
        found |= {line.timeline for line in on if state.live is not None and line.timeline == state.live[1]}
    return frozenset(found)


def _count(
    policy: Policy, systems: Sequence[SystemView], kinds: Mapping[str, str]
) -> tuple[set[str], datetime | None]:
    """The newest full backups of the present, and when the oldest of so many ended; None: there are fewer."""
    counted: set[str] = set()
    since: list[datetime | None] = []
    for view in systems:
        for line in view.lines:
            if line.timeline not in view.current:
                continue
            full = [place for place, one in enumerate(line.backups) if kinds[one.label] == "full"]
            chosen = full[-policy.full_count :]
            counted |= {line.backups[place].label for place in chosen}
            since.append(line.moments[chosen[0]] if len(chosen) == policy.full_count else None)
    known = [one for one in since if one is not None]
    return counted, min(known) if known and len(known) == len(since) else None
