# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Timelines that an undo gave up: which notes are believed, what goes then, and that nothing else goes for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.given_up import (
    GivenUp,
    note_given_up,
    read_given_up,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.layout import Repository
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.retention.choice import choose
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.retention.plan import make_plan
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.retention.policy import Policy
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.retention.state import RetentionState
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.archive import Archive
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.entry import Mark
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.history import Fork, History, Timelines
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.segment import Segment, segment_name
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.waldump import time_text
from tests.unit.retention.history import Life
from tests.unit.retention.promises import Promises
from tests.unit.retention.test_model import left, state_of
from tests.unit.retention.test_plan import SIZE, SYSTEM, archive, at, backup, fates, planned, state

HOUR = 3600
#: The archive of timeline 1 has a segment an hour. A restore to hour 50 was made at hour 60 and taken back at hour 62.
NOTE = GivenUp(SYSTEM, 2, 53 * SIZE + 40, 1, 62 * SIZE + 40, at(62), "0123456789ab")


def on_two(*numbers: int, more: dict[int, History] | None = None, damaged: Any = None) -> Archive:
    """The straight archive, and segments of timeline 2 with a commit in each, from hour 60 on."""
    whole = archive(100)
    entries = dict(whole.entries)
    for hour, number in enumerate(numbers, 60):
        name = segment_name(Segment(2, number), SIZE)
        mark = Mark(number * SIZE + 700, time_text(at(hour + 0.2)), 1)
        known = entries[segment_name(Segment(1, number), SIZE)]
        entries[name] = replace(
            known,
            name=name,
            digest=f"two {number}",
            joined=f"two {number - 1}" if number > numbers[0] else known.joined,
            first_commit=mark,
            last_commit=mark,
            min_time=mark.time,
            max_time=mark.time,
            switches=((50 * SIZE + 608, 2, 1),) if number == numbers[0] else (),
            page_timeline=1 if number == numbers[0] else 2,
        )
    histories = {2: History(2, (Fork(1, 50 * SIZE + 600, ""),)), **(more or {})}
    return replace(whole, entries=entries, timelines=Timelines(histories, frozenset({1, 2}), damaged))


def known(wal: Archive, *notes: GivenUp, **more: Any) -> RetentionState:
    """Backups on both timelines, and the notes."""
    theirs = backup(51, label="two", timeline=2, started_at=at(61), stopped_at=at(61.1))
    mine = (backup(40), backup(70), backup(80), backup(90))
    found = {(note.system_id, note.timeline): notes for note in notes}
    return state(*mine, theirs, wal=wal, given_up=found, **more)


def timelines_of(plan: Any, *, kept: bool) -> set[int]:
    """On which timelines something of the WAL stays, or goes."""
    return {run.first.timeline for run in plan.wal[0].runs if (run.why is not None) is kept}


def test_what_was_given_up_goes_when_its_window_is_over() -> None:
    wal = on_two(50, 51, 52)
    # Without a note the timeline with the highest number is the present for ever, and its backup one of the counted.
    before = planned(Policy(2, 20 * HOUR), known(wal))
    assert fates(before)["two"] == "count" and fates(before)["b40"] != "-outside"
    after = planned(Policy(2, 20 * HOUR), known(wal, NOTE))
    assert fates(after) == {
        "b40": "-outside",
        "two": "-outside",
        "b70": "anchor",
        "b80": "count",
        "b90": "count",
    }
    assert 2 not in timelines_of(after, kept=True)
    assert [one["timeline"] for one in after.to_dict()["given_up"]] == [2]


@pytest.mark.parametrize(
    "policy", [Policy(1, 38 * HOUR), Policy(1, 60 * HOUR), Policy(4), Policy(5), Policy(1, 1000 * HOUR)]
)
def test_within_the_window_and_the_count_all_of_it_stays(policy: Policy) -> None:
    """The first sign of the life that went on is of hour 63: 37 hours old."""
    plan = planned(policy, known(on_two(50, 51, 52), NOTE))
    assert fates(plan)["two"] in ("few", "anchor", "window", "count")
    assert 2 not in timelines_of(plan, kept=False)


def test_a_pinned_backup_of_it_stays_with_what_it_needs() -> None:
    base = known(on_two(50, 51, 52), NOTE)
    backups = tuple(one.changed(pinned=True) if one.label == "two" else one for one in base.catalog.backups)
    plan = planned(Policy(2, 20 * HOUR), replace(base, catalog=replace(base.catalog, backups=backups)))
    assert fates(plan)["two"] == "pinned"
    kept = [run for run in plan.wal[0].runs if run.first.timeline == 2 and run.why is not None]
    assert [(run.first.number, run.last.number) for run in kept] == [(51, 51)]


CHILD = {3: History(3, (Fork(1, 50 * SIZE + 600, ""), Fork(2, 52 * SIZE + 100, "")))}


@pytest.mark.parametrize(
    ("why", "wal", "notes", "live"),
    [
        ("somebody started it again: WAL beyond its end", on_two(50, 51, 52, 53), (NOTE,), (SYSTEM, 1)),
        ("a backup beyond its end", on_two(50), (replace(NOTE, end_lsn=51 * SIZE + 40),), (SYSTEM, 1)),
        ("the live cluster is on it", on_two(50, 51, 52), (NOTE,), (SYSTEM, 2)),
        ("nobody knows where the live cluster came from", on_two(50, 51, 52), (NOTE,), (SYSTEM, 9)),
        ("somebody promoted from it", on_two(50, 51, 52, more=CHILD), (NOTE,), (SYSTEM, 1)),
        (
            "what went on is unknown",
            on_two(50, 51, 52),
            (replace(NOTE, resumed_timeline=7),),
            (SYSTEM, 1),
        ),
        (
            "what went on descends from it",
            on_two(50, 51, 52, more=CHILD),
            (replace(NOTE, resumed_timeline=3),),
            (SYSTEM, 1),
        ),
        ("it says that it went on itself", on_two(50, 51, 52), (replace(NOTE, resumed_timeline=2),), None),
        ("one of two notes is not borne out", on_two(50, 51, 52), (NOTE, replace(NOTE, end_lsn=SIZE)), None),
        ("another system's", on_two(50, 51, 52), (replace(NOTE, system_id=7),), (SYSTEM, 1)),
    ],
)
def test_a_note_that_something_contradicts_is_none(
    why: str, wal: Archive, notes: tuple[GivenUp, ...], live: tuple[int, int] | None
) -> None:
    policy = Policy(2, 20 * HOUR)
    with_note = make_plan(policy, known(wal, *notes, live=live))
    without = make_plan(policy, known(wal, live=live))
    assert fates(with_note) == fates(without), why
    assert with_note.to_dict()["wal"] == without.to_dict()["wal"], why
    assert with_note.choice.systems[0].given_up == frozenset(), why


def test_a_child_that_was_given_up_too_lets_its_parent_go() -> None:
    wal = on_two(50, 51, 52, more=CHILD)
    third = replace(NOTE, timeline=3, end_lsn=54 * SIZE + 40)
    base = known(wal, NOTE)
    both = replace(base, given_up={(SYSTEM, 2): (NOTE,), (SYSTEM, 3): (third,)})
    assert choose(Policy(2, 20 * HOUR), base).systems[0].given_up == frozenset()
    assert choose(Policy(2, 20 * HOUR), both).systems[0].given_up == frozenset({2, 3})


def test_nothing_is_older_than_what_tells_of_the_life_that_went_on() -> None:
    """The note's own time counts for nothing: a clock, or somebody with a key, may have written it."""
    ancient = replace(NOTE, at=at(-100_000))
    plan = planned(Policy(1, 38 * HOUR), known(on_two(50, 51, 52), ancient))
    assert fates(plan)["two"] == "window"
    # Where nothing is archived of what went on, nothing has been lived since.
    nobody = replace(NOTE, resumed_lsn=101 * SIZE)
    plan = planned(Policy(1), known(on_two(50, 51, 52), nobody))
    assert fates(plan)["two"] == "window"


def test_notes_are_kept_and_read_again(tmp_path: Path) -> None:
    repository = Repository(str(tmp_path), "main")
    repository.create()
    assert read_given_up(repository) == {}
    note_given_up(repository, NOTE)
    note_given_up(repository, NOTE)
    other = replace(NOTE, timeline=3)
    path = note_given_up(repository, other)
    assert read_given_up(repository) == {(SYSTEM, 2): (NOTE,), (SYSTEM, 3): (other,)}
    # Of a timeline with a note that cannot be read nothing is believed, whatever another one says.
    Path(path).with_name(f"{Path(path).stem}-2.json").write_text("{torn")
    assert read_given_up(repository) == {(SYSTEM, 2): (NOTE,)}
    Path(path).with_name(f"{Path(path).stem}-2.json").write_text('{"note": 9}')
    assert read_given_up(repository) == {(SYSTEM, 2): (NOTE,)}


def test_of_random_lives_what_was_given_up_long_ago_goes_and_nothing_that_was_taken_up_again() -> None:
    due = gone = again = 0
    for seed in range(700):
        life = Life(seed, undone=True, noted=True)
        if not life.notes:
            continue
        plan = make_plan(life.policy, state_of(life))
        view, promises = plan.choice.systems[0], Promises(life)
        labels, _present = left(plan, life)
        again += len({timeline for _system, timeline in life.notes} - set(life.given_up))
        assert view.gone <= view.given_up <= set(life.given_up), f"life {seed}"
        for timeline in life.given_up:
            notes = life.notes.get((42, timeline), ())
            first = min(
                (
                    one.true
                    for note in notes
                    for one in life.commits
                    if one.timeline == note.resumed_timeline and one.lsn > note.resumed_lsn
                ),
                default=None,
            )
            if promises.since is None or first is None or first >= promises.since:
                assert timeline not in view.gone, f"life {seed}: timeline {timeline} was given up just now"
                continue
            due += 1
            gone += timeline in view.gone
            leftover = {
                one.label
                for one in life.backups
                if one.timeline == timeline and one.label in labels and one.status == "verified"
            }
            if timeline in view.gone:
                wanted = {verdict.label for verdict in plan.verdicts if verdict.why in ("outside", "failed")}
                assert not leftover & wanted, f"life {seed}"
    # Where a leap of clocks or a silence hides that time has passed, more stays.
    assert due > 20 and gone >= 0.8 * due and again > 0, (due, gone, again)
