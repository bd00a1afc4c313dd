# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Which backups the policy wants, and from which moment on everything is promised. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import inf

from ..core.errors import KeeperError
from ..repository.catalog import Backup
from ..wal.facts import BackupFacts
from .ages import Age, Chronicle, Place, Sign, commits, place_of, stops
from .arrivals import arrivals
from .given_up import Believed, believed, long_gone, without
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
    #: Timelines that an undo gave up, as far as nothing contradicts that; and those of them without anything promised.
    given_up: frozenset[int] = frozenset()
    gone: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Choice:
    """What is not older than ``age`` is promised, what is not older than ``wal_age`` with every moment of it.

    Infinite: all. ``since`` and ``wal_since`` are the same as the clock said it then (None: all). ``wanted``: label ->
    rule, of the backups that the promise needs; ``young``: all that are not older, fit or not; ``floors``: (system,
    timeline, LSN) from which on WAL is needed for it.
    """

    age: Age
    wal_age: Age
    since: datetime | None
    wal_since: datetime | None
    counted: frozenset[str]
    wanted: Mapping[str, str]
    young: frozenset[str]
    floors: tuple[tuple[int, int, int], ...]
    systems: tuple[SystemView, ...]
    #: What has to be remembered of the life so far, before anything goes.
    memory: Sequence[Sign]


def choose(policy: Policy, state: RetentionState) -> Choice:
    """Decide from the state alone."""
    # One whose files have rotted is no start for a restore, and yet its moment does not make it old.
    finished = (one for one in state.catalog.backups if one.finished and _complete(one))
    verified = {one.label: one.facts(even_unsound=True) for one in finished}
    facts = {one.label: verified[one.label] for one in state.catalog.usable() if one.label in verified}
    kinds = {one.label: one.kind for one in state.catalog.backups}
    signs = list(stops(verified.values()))
    for system in state.systems:
        if system.archive is not None:
            signs += commits(system.archive, system.system_id)
    window = float(policy.window_seconds or 0)
    given_up = {
        system.system_id: believed(
            state.given_up,
            system.system_id,
            system.archive,
            [one for one in verified.values() if one.system_id == system.system_id],
            state.live,
        )
        for system in state.systems
        if system.archive is not None
    }
    whole = life = Chronicle(signs, window, state.remembered)
    systems = _views(state, facts, life, given_up)
    counted, oldest = _count(policy, systems, kinds)
    gone = long_gone(given_up, signs, window, state.remembered, oldest)
    if gone:
        # As if it had never been: its own life makes nothing older, and nothing younger.
        life = Chronicle(without(signs, gone), window, without(state.remembered, gone))
        systems = tuple(
            replace(view, gone=frozenset(one for one in view.given_up if (view.state.system_id, one) in gone))
            for view in _views(state, facts, life, given_up)
        )
    age = max([Age(inf) if place is None else life.span(place) for place in oldest], default=Age(inf))
    age = max(age, Age(window))
    young = {label for label, one in verified.items() if life.age(place_of(one)).seconds <= age.seconds}
    young -= {label for label, one in verified.items() if (one.system_id, one.timeline) in gone}
    wal_age = age if policy.wal_seconds is None else min(age, Age(float(policy.wal_seconds)))
    wanted: dict[str, str] = {}
    floors: list[tuple[int, int, int]] = []
    for view in systems:
        for line in view.lines:
            if not lives(line, view, age):
                continue
            places, anchor = line.needed(age), line.anchor(age)
            for place in places:
                label = line.backups[place].label
                rule = "few" if age.seconds == inf else "anchor" if place == anchor else "window"
                wanted[label] = "count" if label in counted else wanted.get(label, rule)
            floors += [
                (view.state.system_id, line.backups[place].timeline, line.backups[place].start_lsn)
                for place in line.needed(wal_age)
            ]
    for label, rule in _arrived(policy, state, systems, window).items():
        wanted.setdefault(label, rule)
    floors += _floors(systems, _arrived(policy, state, systems, min(window, wal_age.seconds)))
    return Choice(
        age,
        wal_age,
        None if age.seconds == inf else life.moment(age.seconds),
        None if wal_age.seconds == inf else life.moment(wal_age.seconds),
        frozenset(counted),
        wanted,
        frozenset(young),
        tuple(dict.fromkeys(floors)),
        systems,
        whole.memory(),
    )


def _arrived(
    policy: Policy, state: RetentionState, systems: Sequence[SystemView], seconds: float
) -> dict[str, str]:
    """What a restore could start from, and came by a door less long ago than the window is."""
    if policy.window_seconds is None:
        return {}
    fit = {one.label for view in systems for one in view.fit}
    return arrivals((one for one in state.catalog.backups if one.label in fit), state.now, seconds)


def _floors(systems: Sequence[SystemView], labels: Mapping[str, str]) -> list[tuple[int, int, int]]:
    return [
        (view.state.system_id, one.timeline, one.start_lsn)
        for view in systems
        for one in view.fit
        if one.label in labels
    ]


def _complete(backup: Backup) -> bool:
    return None not in (backup.timeline, backup.start_lsn, backup.stop_lsn, backup.stopped_at)


def promised(choice: Choice | None, backups: Sequence[Backup]) -> dict[str, bool]:
    """Label -> whether every moment since is promised. Without a policy, and where nothing is known: of all of them."""
    unknown = {view.state.system_id for view in choice.systems if view.held is not None} if choice else set()
    return {
        backup.label: choice is None
        or backup.system_id in unknown
        or any(
            system == backup.system_id and lsn <= (backup.start_lsn or 0)
            for system, _timeline, lsn in choice.floors
        )
        for backup in backups
    }


def lives(line: Line, view: SystemView, age: Age) -> bool:
    """Whether something of the promise lies on the line: the present does, and what was lived through since."""
    if line.timeline in view.gone:
        return False
    young = line.age is not None and line.age.seconds <= age.seconds
    return age.seconds == inf or line.timeline in view.current or young


def _views(
    state: RetentionState,
    facts: Mapping[str, BackupFacts],
    life: Chronicle,
    given_up: Mapping[int, Believed],
) -> tuple[SystemView, ...]:
    found = []
    present = _present(state, life)
    for system in state.systems:
        usable = tuple(one for one in facts.values() if one.system_id == system.system_id)
        if system.archive is None:
            found.append(SystemView(system, usable, (), (), frozenset(), system.error))
            continue
        labels = restorable(system.archive, usable)
        fit = tuple(one for one in usable if one.label in labels)
        try:
            on = tuple(lines(system.system_id, system.archive, fit, life))
        except KeeperError as error:
            found.append(SystemView(system, usable, fit, (), frozenset(), error))
            continue
        gone = frozenset(given_up[system.system_id])
        alive = [line for line in on if line.timeline not in gone]
        current = _current(system, state, alive) if system.system_id in present else frozenset()
        found.append(SystemView(system, usable, fit, on, current, given_up=gone))
    return tuple(found)


def _present(state: RetentionState, life: Chronicle) -> frozenset[int]:
    """The system that lives. Where nobody says which: the one made last (its identifier begins with the time of
    initdb), and the one that the latest time was written in."""
    if state.live is not None:
        return frozenset({state.live[0]})
    known = [system.system_id for system in state.systems]
    latest = {one: last for one in known if (last := life.last(one)) is not None and last <= state.now}
    return frozenset([*known[-1:], *([max(latest, key=lambda one: latest[one])] if latest else [])])


def _current(system: SystemState, state: RetentionState, on: Sequence[Line]) -> frozenset[int]:
    """The live timeline, and the newest of the archive: promotions only count upwards.

    Where nobody says which one lives: also the one of the latest time. A restore that was undone leaves a timeline with
    a higher number than the one that goes on.
    """
    found = {on[-1].timeline} if on else set()
    if state.live is not None and state.live[0] == system.system_id:
        found |= {line.timeline for line in on} & {state.live[1]}
    else:
        said = {line.timeline: line.said for line in on if line.said is not None}
        found |= set(sorted(said, key=lambda one: said[one])[-1:])
    return frozenset(found)


def _count(
    policy: Policy, systems: Sequence[SystemView], kinds: Mapping[str, str]
) -> tuple[set[str], list[Place | None]]:
    """The newest full backups of the present, and where the oldest of so many ended, line by line; None where there are
    fewer."""
    counted: set[str] = set()
    oldest: list[Place | None] = []
    for view in systems:
        for line in view.lines:
            if line.timeline not in view.current:
                continue
            full = [place for place, one in enumerate(line.backups) if kinds[one.label] == "full"]
            chosen = full[-policy.full_count :]
            counted |= {line.backups[place].label for place in chosen}
            enough = len(chosen) == policy.full_count
            oldest.append(place_of(line.backups[chosen[0]]) if enough else None)
    return counted, oldest
