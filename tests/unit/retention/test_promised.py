# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Which gaps are worth a word: those in what is promised, and not what the policy itself has let go."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.backup.windows import gaps, windows
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Failed
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.retention.choice import choose, promised
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.retention.policy import Policy
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.retention.state import SystemState
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.archive import Archive
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.history import Timelines
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.segment import Segment, segment_name

from .test_plan import FOUR, HOUR, SIZE, SYSTEM, archive, backup, state

#: Backups of four days, every moment of the last forty hours: since b40.
POLICY = Policy(1, 96 * HOUR, 40 * HOUR)


def without(*numbers: int) -> Archive:
    whole = archive(100)
    names = {segment_name(Segment(1, number), SIZE) for number in numbers}
    return replace(whole, entries={name: one for name, one in whole.entries.items() if name not in names})


@pytest.mark.parametrize(
    ("lost", "missed", "all_of_them"),
    [
        ((), 0, 0),
        # After the backup that is kept for itself, and before the one that the promise begins with.
        ((12, 20, 39), 0, 1),
        # The WAL that was written while it was taken makes the backup worth nothing: that is missed.
        ((10,), 1, 1),
        ((50,), 1, 1),
        ((20, 50), 1, 2),
    ],
)
def test_what_the_policy_has_let_go_is_no_gap(lost: tuple[int, ...], missed: int, all_of_them: int) -> None:
    wal = without(*lost)
    known = promised(choose(POLICY, state(*FOUR, wal=wal)), FOUR)
    assert known == {"b10": False, "b40": True, "b70": True, "b90": True}
    found = windows([one.facts() for one in FOUR], wal)
    assert (len(gaps(found, known)), len(gaps(found))) == (missed, all_of_them)


def test_without_a_policy_everything_is_promised() -> None:
    assert promised(None, FOUR) == dict.fromkeys(("b10", "b40", "b70", "b90"), True)


def test_where_nothing_is_known_nothing_is_let_go() -> None:
    fault = Failed("history-damaged", attempted="a", happened="b", remedy="c")
    known = state(*FOUR, systems=(SystemState(SYSTEM, None, error=fault),))
    assert set(promised(choose(POLICY, known), FOUR).values()) == {True}


def test_the_end_of_a_backups_wal_is_missed_where_the_archive_ends_there() -> None:
    """B10: nothing follows, so nothing looks like a gap; and yet the newest backup is worth nothing."""
    newest = backup(98, stop_lsn=100 * SIZE + 800)
    backups = [one.facts() for one in (*FOUR, newest)]
    assert gaps(windows(backups, archive(100))) == []
    cut = windows(backups, archive(99))
    [missed] = gaps(cut)
    assert (missed["code"], missed["first"], missed["last"]) == (
        "segment-missing",
        f"{1:08X}{0:08X}{100:08X}",
        missed["first"],
    )
    assert all("b98" not in window.backups for window in cut)


def test_a_line_whose_history_is_lost_is_a_gap_for_the_backups_on_it() -> None:
    """B11: nobody can say where it left its parent, so none of its backups can be restored."""
    lost = replace(archive(100), timelines=Timelines({}, frozenset({1, 2})))
    theirs = backup(95, label="two", timeline=2)
    found = windows([one.facts() for one in (*FOUR, theirs)], lost)
    assert [gap["code"] for gap in gaps(found)] == ["history-missing"]
    assert gaps(found)[0]["first"] == "00000002.history"
    assert all("two" not in window.backups for window in found)
    # Without a backup on it nothing that was to be restored is lost.
    assert gaps(windows([one.facts() for one in FOUR], lost)) == []
