# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What is sent stays: also where a clock was wrong for a day, and where the repository was moved and all its files have
the date of that day."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.wishes_copies import CopyPolicy
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.keep import plan_keep
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.lived import LIVED, remembered
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.sheets import Kept, Sheet
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.sieve import foreseen, sieve
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.clock import format_utc
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.retention.policy import Policy
from tests.unit.copies.stages import Sheets, groups_of, lying

SIZE = 1 << 24
BEGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)
DAY = timedelta(days=1)
TWO = CopyPolicy(Policy(full_count=2))


def day(number: float) -> datetime:
    return BEGIN + number * DAY


def archive(wal: Mapping[int, datetime], backups: Mapping[int, datetime]) -> Sheets:
    """Segments by their number, with when they were archived; full backups by the segment in which they were taken."""
    group = "wal/7/00000001/0000000100000000"
    keys = {f"wal/7/00000001/{1:08X}{0:08X}{number:08X}.zst": at for number, at in wal.items()}
    files = {key: Kept(key, 9, "", 9, "", str(at), at.timestamp()) for key, at in keys.items()}
    found = {group: Sheet(group, "wal", "whole", {}, files)}
    for number, ended in backups.items():
        name = f"base/b{number}"
        facts = {
            "label": f"b{number}",
            "kind": "full",
            "system_id": "7",
            "timeline": 1,
            "start_lsn": f"0/{number * SIZE + 40:X}",
            "stop_lsn": f"0/{number * SIZE + 400:X}",
            "stopped_at": format_utc(ended),
            "wal_segment_size": SIZE,
        }
        item = Kept(f"{name}/x", 5, "", 5, "", "", ended.timestamp())
        found[name] = Sheet(name, "base", "whole", facts, {item.name: item})
    return found


def expired(copy: Sheets) -> tuple[Sheets, set[str]]:
    """What is left after an expiry, and the names of all that went."""
    plan = plan_keep(TWO.base, None, copy, {})
    left = {name: one.without(set(plan.wal)) for name, one in copy.items() if name not in plan.groups}
    left[LIVED] = remembered(plan.lived, plan.before)
    return left, {*plan.groups, *plan.wal}


def sent(repository: Sheets, copy: Sheets) -> Sheets:
    """What the copy has after a run has sent what it sends, before its expiry."""
    there = lying(copy)
    return foreseen(sieve(groups_of(repository), copy, there, "", TWO), copy, there, "")


def names(sheets: Sheets) -> set[str]:
    return {name for name in sheets if name.startswith("base/")} | {
        key for one in sheets.values() if one.kind == "wal" for key in one.objects
    }


def test_what_looks_young_only_beside_what_goes_is_not_sent() -> None:
    """The first segment is of a day on which the clock was a week ahead: as long as it is there, all that was written
    until the clock says so again counts as one moment. It is the first that goes, and then all is as old as it is."""
    backups = {number: day(number) for number in range(1, 8)}
    wal = {number: ended + timedelta(minutes=1) for number, ended in backups.items()} | {0: day(7.5)}
    repository = archive(wal, backups)
    # A run that was killed has sent the first segments.
    copy = sent(repository, archive({0: wal[0], 1: wal[1]}, {}))
    arrived = names(copy) - names(archive({0: wal[0], 1: wal[1]}, {}))
    for _run in range(3):
        copy, gone = expired(copy)
        assert not gone & arrived
    assert {"base/b6", "base/b7"} == {name for name in copy if name.startswith("base/")}
    assert names(sent(repository, copy)) == names(copy)


def test_what_was_deleted_is_no_younger_because_its_archive_was_moved() -> None:
    """The copy has seen it with its own dates and remembers them. By those of the day of the move the clock would have
    leapt after the oldest backups, and nothing would have been lived since."""
    backups = {number: day(number) for number in range(1, 12)}
    wal = {number: ended + timedelta(minutes=1) for number, ended in backups.items()}
    copy, gone = expired(archive(wal, backups))
    assert {"base/b1", "base/b9"} <= gone and "base/b10" in copy
    moved = archive(dict.fromkeys(wal, day(12)) | {12: day(12.1), 13: day(12.2)}, {**backups, 12: day(12)})
    later = sent(moved, copy)
    assert not names(later) & gone
    assert {"base/b10", "base/b11", "base/b12"} <= set(later)
    later, went = expired(later)
    assert went and names(sent(moved, later)) == names(later)
