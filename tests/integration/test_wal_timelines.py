# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Forks of history: which branch a target means, and what is refused when nobody can say."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.facts import Commit, Target
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.lsn import format_lsn

from .harness.installation import default_installation
from .harness.sandbox import Sandbox
from .wal_archive import PlainArchive, Recovery, Server


class Forked:
    """Timeline 1 goes on; 2 left it at the commit ``fork``; 3 left 2; both with commits of their own."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.server = Server(sandbox, "main", default_installation())
        cluster = self.server.cluster
        cluster.start()
        cluster.sql("CREATE TABLE t (n int)")
        self.server.backup()
        for n in range(5):
            cluster.sql("INSERT INTO t VALUES (%s)", n)
        cluster.sql("SELECT pg_create_restore_point('fork')")
        for n in range(100, 105):
            cluster.sql("INSERT INTO t VALUES (%s)", n)
        self.server.close_segment()
        second = self._fork(Target("name", "fork", timeline=1), range(200, 205), "second")
        assert second == 2
        third = self._fork(Target("name", "second", timeline=2), range(300, 305), "third")
        assert third == 3

    def _fork(self, target: Target, rows: range, point: str) -> int:
        proof = self.server.prove(target)
        settings = {
            "recovery_target_lsn": format_lsn(proof.lsn),
            "recovery_target_timeline": str(proof.timeline),
        }
        with self.server.recover(proof, settings, archiving=True) as recovery:
            timeline = recovery.promote()
            self._fill(recovery, rows, point)
        return timeline

    def _fill(self, recovery: Recovery, rows: range, point: str) -> None:
        for n in rows:
            recovery.sql(f"WITH x AS (INSERT INTO t VALUES ({n}) RETURNING n) SELECT * FROM x")
        recovery.close_segment()
        recovery.sql(f"SELECT pg_create_restore_point('{point}')")
        for n in rows:
            recovery.sql(f"WITH x AS (INSERT INTO t VALUES ({n + 50}) RETURNING n) SELECT * FROM x")
        recovery.close_segment()

    def newest(self, timeline: int) -> Commit:
        commit = self.server.prove(Target("latest", timeline=timeline)).newest_reachable
        assert commit
        return commit


@pytest.fixture(scope="module")
def forked() -> Iterator[Forked]:
    sandbox = Sandbox()
    yield Forked(sandbox)
    sandbox.close()


@pytest.mark.parametrize(
    ("timeline", "rows"),
    [
        (1, {*range(5), *range(100, 105)}),
        (2, {*range(5), *range(200, 205), *range(250, 255)}),
        (3, {*range(5), *range(200, 205), *range(300, 305), *range(350, 355)}),
    ],
)
def test_latest_of_each_timeline(forked: Forked, timeline: int, rows: set[int]) -> None:
    proof = forked.server.prove(Target("latest", timeline=timeline))
    assert (proof.timeline, proof.branch) == (timeline, timeline)
    assert proof.histories == tuple(f"{t:08X}.history" for t in range(2, timeline + 1))
    settings = {
        "recovery_target_lsn": format_lsn(proof.lsn),
        "recovery_target_timeline": str(proof.timeline),
    }
    with forked.server.recover(proof, settings) as recovery:
        assert {row[0] for row in recovery.sql("SELECT n FROM t")} == rows


def test_latest_without_a_timeline_is_ambiguous(forked: Forked) -> None:
    for target in (
        Target("latest"),
        Target("time", datetime.now(timezone.utc), allow_idle_gap=True),
        Target("time", forked.newest(1).time - timedelta(microseconds=1)),
    ):
        with pytest.raises(Refused) as caught:
            forked.server.prove(target)
        assert caught.value.code == "timeline-ambiguous"
        branches = caught.value.details["branches"]
        assert [branch["timeline"] for branch in branches] == [1, 2, 3]
        assert branches[2]["parent"] == 2


def test_what_lies_before_all_forks_needs_no_timeline(forked: Forked) -> None:
    first = forked.server.prove(Target("name", "fork")).last_commit
    assert first
    alone = forked.server.prove(Target("time", first.time - timedelta(microseconds=1)))
    assert alone.timeline == 1
    for timeline in (1, 2, 3):
        proof = forked.server.prove(Target("time", first.time - timedelta(microseconds=1), timeline=timeline))
        assert (proof.lsn, proof.timeline, proof.segments) == (alone.lsn, 1, alone.segments)
        assert proof.branch == timeline
        assert bool(proof.warnings) == (timeline > 1)


def test_names_and_xids_find_their_branch(forked: Forked) -> None:
    assert forked.server.prove(Target("name", "second")).timeline == 2
    assert forked.server.prove(Target("name", "third")).timeline == 3
    assert forked.server.prove(Target("name", "fork")).timeline == 1
    with pytest.raises(Refused) as caught:
        forked.server.prove(Target("name", "third", timeline=2))
    assert caught.value.code == "restore-point-unknown"
    # Both branches went on with the same transaction numbers.
    xid = forked.newest(2).xid
    with pytest.raises(Refused) as caught:
        forked.server.prove(Target("xid", forked.newest(1).xid))
    assert caught.value.code == "timeline-ambiguous"
    assert forked.server.prove(Target("xid", xid, timeline=2)).timeline == 2


def changed(forked: Forked, tmp_path: Path) -> PlainArchive:
    return forked.server.archive.copy(tmp_path / "archive")


def test_a_missing_history_is_refused(forked: Forked, tmp_path: Path) -> None:
    archive = changed(forked, tmp_path)
    (archive.path / "00000003.history").unlink()
    for target in (Target("latest"), Target("latest", timeline=3), Target("name", "second")):
        with pytest.raises(Refused) as caught:
            forked.server.prove(target, archive=archive, index="no-history")
        assert caught.value.code == "history-missing"
        assert "00000003.history" in caught.value.happened
    # A timeline that was asked for does not depend on it.
    assert forked.server.prove(Target("latest", timeline=1), archive=archive, index="no-history")


@pytest.mark.parametrize("text", ["", "garbage\n", "2\t0/5000000\n1\t0/4000000\n", "3\t0/5000000\n"])
def test_a_damaged_history_is_refused(forked: Forked, tmp_path: Path, text: str) -> None:
    archive = changed(forked, tmp_path)
    (archive.path / "00000003.history").write_text(text)
    for target in (Target("latest"), Target("latest", timeline=3)):
        with pytest.raises(Refused) as caught:
            forked.server.prove(target, archive=archive, index="bad-history")
        assert caught.value.code == "history-damaged"


def test_a_child_without_wal_is_not_passed_over(forked: Forked, tmp_path: Path) -> None:
    archive = changed(forked, tmp_path)
    for timeline in (2, 3):
        for path in archive.segments(timeline):
            path.unlink()
    with pytest.raises(Refused) as caught:
        forked.server.prove(Target("latest"), archive=archive, index="childless")
    assert caught.value.code == "timeline-ambiguous"
    assert "no WAL of timeline 2" in caught.value.happened
    assert forked.server.prove(Target("latest", timeline=1), archive=archive, index="childless")
    # PostgreSQL would replay the parent past the fork and call it the child (B12).
    with pytest.raises(Refused) as caught:
        forked.server.prove(Target("latest", timeline=2), archive=archive, index="childless")
    assert caught.value.code == "segment-missing"


def test_the_childs_copy_serves_where_the_parents_was_never_archived(forked: Forked, tmp_path: Path) -> None:
    archive = changed(forked, tmp_path)
    fork = forked.server.prove(Target("name", "fork"))
    own = archive.path / fork.segments[-1].name
    own.rename(own.with_name(own.name + ".partial"))
    target = Target("lsn", fork.lsn)
    proof = forked.server.prove(target, archive=archive, index="partial")
    assert (proof.lsn, proof.timeline) == (fork.lsn, 2)
    assert proof.segments[-1].name == "00000002" + own.name[8:]
    assert proof.histories == ("00000002.history",)


def test_a_missing_segment_at_the_fork_is_not_replaced_by_the_parents(forked: Forked, tmp_path: Path) -> None:
    archive = changed(forked, tmp_path)
    first = archive.segments(2)[0]
    first.unlink()
    with pytest.raises(Refused) as caught:
        forked.server.prove(Target("latest", timeline=2), archive=archive, index="fork-gone")
    assert (caught.value.code, caught.value.details["first"]) == ("segment-missing", first.name)


def test_a_timeline_that_left_before_the_backup_ended(forked: Forked) -> None:
    backups = forked.server.backups
    newer = forked.server.backup()
    try:
        forked.server.close_segment()
        # Only timeline 1 goes on from the newer backup: nothing is ambiguous any more.
        proof = forked.server.prove(Target("latest"))
        assert (proof.backup, proof.timeline) == (newer.label, 1)
        forked.server.backups = [newer]
        with pytest.raises(Refused) as caught:
            forked.server.prove(Target("latest", timeline=2))
        assert caught.value.code == "timeline-not-descendant"
    finally:
        forked.server.backups = backups


def test_the_parents_content_under_the_childs_name_is_seen(
    forked: Forked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every record of it is sound, and the server would go on along the parent's line without a word."""
    archive = changed(forked, tmp_path)
    first = archive.segments(2)[0]
    first.write_bytes((archive.path / f"00000001{first.name[8:]}").read_bytes())
    with pytest.raises(Refused) as caught:
        forked.server.prove(Target("latest", timeline=2), archive=archive, index="parents")
    assert (caught.value.code, caught.value.details["first"]) == ("segment-wrong-content", first.name)
    assert "no record that begins it" in caught.value.happened
    # The other way round: the parent's line does not go over into the child's.
    monkeypatch.setattr(forked.server, "backups", forked.server.backups[:1])
    (tmp_path / "other").mkdir()
    first = changed(forked, tmp_path / "other").path / first.name
    parent = first.with_name(f"00000001{first.name[8:]}")
    parent.write_bytes(first.read_bytes())
    with pytest.raises(Refused):
        forked.server.prove(Target("latest", timeline=1), archive=PlainArchive(first.parent), index="childs")


@pytest.mark.parametrize("distance", [-(1 << 20), -8192, 8, 8192])
def test_a_history_with_another_position_is_seen(forked: Forked, tmp_path: Path, distance: int) -> None:
    archive = changed(forked, tmp_path)
    history = archive.path / "00000002.history"
    timeline, position, reason = history.read_text().strip().split("\t")
    high, low = position.split("/")
    moved = format_lsn((int(high, 16) << 32) + int(low, 16) + distance)
    history.write_text(f"{timeline}\t{moved}\t{reason}\n")
    with pytest.raises(Refused) as caught:
        forked.server.prove(Target("latest", timeline=2), archive=archive, index="moved")
    assert caught.value.code in ("history-damaged", "segment-wrong-content", "segment-missing")
