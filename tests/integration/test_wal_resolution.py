# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Targets are resolved as the server itself resolves them, and the planned segments are enough to get there."""

from __future__ import annotations

import random
import re
import subprocess
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.exact import Exact
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.facts import Proof, Target, TargetKind
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.lsn import format_lsn
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.reach import reach
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.waldump import (
    TransactionEnd,
    WalDump,
)

from .harness.installation import a_major_a_day, installations
from .harness.sandbox import Sandbox
from .wal_archive import Server, all_records

pytestmark = pytest.mark.filterwarnings("error")


def fill_segment(connection: psycopg.Connection[Any], size: int, leave: int) -> None:
    """Write WAL until few bytes of the segment are left."""
    query = "SELECT pg_current_wal_insert_lsn() - '0/0'"
    left = size - int(connection.execute(query).fetchall()[0][0]) % size
    if left > 2 * leave:
        # Page headers take their share.
        length = int((left - leave) * (1 - 24 / 8192)) - 100
        connection.execute("SELECT pg_logical_emit_message(false, 'test', repeat('f', %s))", [length])


def workload(server: Server) -> None:
    """Everything that ends transactions: concurrent, nested, rolled back, prepared, huge commit records."""
    cluster = server.cluster
    cluster.sql("CREATE TABLE ledger (n bigint, p text)")
    server.backup()

    def client(number: int) -> None:
        choose = random.Random(number)
        with cluster.connect() as connection:
            for step in range(60):
                connection.execute("BEGIN")
                connection.execute(
                    "INSERT INTO ledger SELECT %s, repeat('x', %s)", (number * 1000 + step, 900)
                )
                for _dummy in range(choose.randrange(3)):
                    connection.execute("SAVEPOINT s")
                    connection.execute("INSERT INTO ledger VALUES (-1, 'sub')")
                    connection.execute(choose.choice(["RELEASE s", "ROLLBACK TO s"]))
                connection.execute(choose.choice(["COMMIT", "COMMIT", "COMMIT", "ROLLBACK"]))

    clients = [threading.Thread(target=client, args=(number,)) for number in range(4)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    with cluster.connect() as connection:
        connection.execute("SELECT pg_create_restore_point('named, with: signs')")
        for end in ("COMMIT PREPARED 'g x'", "ROLLBACK PREPARED 'g x'"):
            connection.execute("BEGIN")
            connection.execute("INSERT INTO ledger VALUES (-2, 'prepared')")
            connection.execute("PREPARE TRANSACTION 'g x'")
            connection.execute(end)
        # A record that covers whole segments, and commit records of 16 kB that cross the end of a segment.
        connection.execute("SELECT pg_logical_emit_message(false, 'test', repeat('z', 3500000))")
        for _dummy in range(3):
            connection.execute("BEGIN")
            connection.execute(
                "DO $$ BEGIN FOR i IN 1..4000 LOOP "
                "BEGIN INSERT INTO ledger VALUES (-3, repeat('y', 100)); "
                "EXCEPTION WHEN unique_violation THEN NULL; END; END LOOP; END $$"
            )
            fill_segment(connection, server.cluster.kind.segment_mb << 20, leave=4000)
            connection.execute("COMMIT")
    server.close_segment()
    server.backup()
    client(9)
    cluster.sql("SELECT pg_create_restore_point('twice')")
    cluster.sql("SELECT pg_create_restore_point('twice')")
    cluster.sql("SELECT txid_current()")
    server.close_segment()


@pytest.fixture(scope="module", params=a_major_a_day(least=15))
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    installation = installations()[request.param]
    sandbox = Sandbox()
    server = Server(sandbox, "main", installation)
    server.cluster.start()
    workload(server)
    yield server
    sandbox.close()


@pytest.fixture(scope="module")
def ends(server: Server) -> list[TransactionEnd]:
    """All transaction ends as the index and the exact reader tell them."""
    index = server.index()
    archive = index.refresh(server.archive, server.bin_directory)
    size = archive.segment_bytes
    dump = WalDump(server.bin_directory, server.cluster.installation.major, size)
    first = server.backups[0].start_lsn
    reached = reach(archive, archive.branch(1), first)
    assert reached.broken is None
    exact = Exact(dump, server.archive, index.directory)
    found = []
    for step in reached.steps:
        here = exact.ends(reached, step.segment.number)
        assert sum(end.committed for end in here) == step.entry.commits
        assert sum(not end.committed for end in here) == step.entry.aborts
        found += here
    return found


def test_commits_are_those_that_the_server_remembers(server: Server, ends: list[TransactionEnd]) -> None:
    committed = {xid: end.time for end in ends if end.committed for xid in (end.xid, *end.subxids) if xid}
    low, high = min(committed), max(committed)
    rows = server.cluster.sql(
        "SELECT x, t FROM generate_series(%s::bigint, %s) x, "
        "LATERAL (SELECT pg_xact_commit_timestamp(x::text::xid) AS t) q WHERE t IS NOT NULL",
        low,
        high,
    )
    assert committed == {xid: time.astimezone(timezone.utc) for xid, time in rows}


def test_every_end_is_seen_once_in_the_order_of_wal(server: Server, ends: list[TransactionEnd]) -> None:
    printed = [
        line.lsn
        for line in all_records(server)
        if line.rmgr == "Transaction" and re.match("(COMMIT|ABORT)", line.description)
    ]
    # Those before the backup's first segment are not on the way.
    assert [end.lsn for end in ends] == [lsn for lsn in printed if lsn >= ends[0].lsn]


def test_some_commit_records_cross_the_end_of_a_segment(server: Server, ends: list[TransactionEnd]) -> None:
    size = server.backups[0].wal_segment_size
    crossing = [end for end in ends if end.lsn // size != (end.end_lsn - 1) // size]
    assert crossing
    for end in crossing:
        proof = server.prove(Target("lsn", end.lsn))
        assert proof.segments[-1].name.endswith(f"{(end.end_lsn - 1) // size:08X}"[-4:])
        assert proof.last_commit and proof.last_commit.xid == end.xid


def first_later(ends: list[TransactionEnd], begin: int, moment: datetime, inclusive: bool) -> TransactionEnd:
    return next(
        end
        for end in ends
        if end.lsn >= begin and (end.time > moment or (not inclusive and end.time == moment))
    )


def test_times_stop_before_the_first_later_end(server: Server, ends: list[TransactionEnd]) -> None:
    choose = random.Random(7)
    reachable = [end for end in ends if end.lsn > server.backups[0].stop_lsn][:-1]
    for end in choose.sample(reachable, 25):
        for inclusive in (True, False):
            moment = end.time + timedelta(microseconds=choose.choice([-1, 0, 1]))
            if moment < server.backups[0].stopped_at:
                continue
            proof = server.prove(Target("time", moment, inclusive=inclusive))
            backup = next(b for b in server.backups if b.label == proof.backup)
            expected = first_later(ends, backup.start_lsn, moment, inclusive)
            assert (proof.lsn, proof.inclusive) == (expected.lsn, False)
            assert backup.stopped_at <= moment
            before = [e for e in ends if e.committed and backup.start_lsn <= e.lsn < expected.lsn]
            after = [e for e in ends if e.committed and e.lsn >= expected.lsn]
            assert proof.last_commit and proof.last_commit.lsn == before[-1].lsn
            assert proof.first_commit and proof.first_commit.lsn == before[0].lsn
            assert proof.next_commit and proof.next_commit.lsn == after[0].lsn
            assert proof.newest_reachable and proof.newest_reachable.lsn == after[-1].lsn


def own_settings(proof: Proof) -> dict[str, str]:
    return {
        "recovery_target_lsn": format_lsn(proof.lsn),
        "recovery_target_inclusive": "on" if proof.inclusive else "off",
        "recovery_target_timeline": str(proof.timeline),
    }


def targets(server: Server, ends: list[TransactionEnd]) -> list[tuple[Target, dict[str, str]]]:
    """Our targets and the server's own words for them."""
    choose = random.Random(11)
    stop = server.backups[0].stop_lsn
    top = [end for end in ends if end.lsn > stop and end.committed]
    found: list[tuple[Target, dict[str, str]]] = []
    for end in choose.sample(top[:-1], 2):
        moment = end.time
        if moment >= server.backups[0].stopped_at:
            text = moment.strftime("%Y-%m-%d %H:%M:%S.%f+00")
            found.append((Target("time", moment), {"recovery_target_time": text}))
    for inclusive in (True, False):
        end = choose.choice(top)
        words = {
            "recovery_target_xid": str(end.xid),
            "recovery_target_inclusive": "on" if inclusive else "off",
        }
        found.append((Target("xid", end.xid, inclusive=inclusive), words))
    prepared = [line for line in all_records(server) if line.description.startswith("COMMIT_PREPARED")]
    xid = int(prepared[0].description.split()[1].rstrip(":"))
    found.append((Target("xid", xid), {"recovery_target_xid": str(xid)}))
    name = "named, with: signs"
    found.append((Target("name", name), {"recovery_target_name": name}))
    # Somewhere between two records.
    lsn = choose.choice(top).lsn + 8
    found.append((Target("lsn", lsn), {"recovery_target_lsn": format_lsn(lsn)}))
    return found


def test_the_server_stops_where_the_proof_says(server: Server, ends: list[TransactionEnd]) -> None:
    for target, words in targets(server, ends):
        proof = server.prove(target)
        states = []
        for settings, only_planned in ((words, False), (own_settings(proof), True)):
            with server.recover(proof, settings, only_planned=only_planned) as recovery:
                rows = recovery.sql("SELECT n, length(p), xmin::text::bigint FROM ledger ORDER BY 3, 1")
                line = recovery.stop_line()
                states.append(rows)
        assert states[0] == states[1], (target.describe(), line)
        word = "after" if proof.inclusive else "before"
        assert f'{word} WAL location (LSN) "{format_lsn(proof.lsn)}"' in line
        if proof.last_commit:
            known = {end.xid: end.lsn for end in ends if end.committed}
            newest = max(known[xid] for _dummy, _dummy, xid in states[0] if xid in known)
            assert newest <= proof.last_commit.lsn


def test_latest_and_immediate_are_reached(server: Server, ends: list[TransactionEnd]) -> None:
    kinds: tuple[TargetKind, ...] = ("latest", "immediate")
    for kind in kinds:
        last = all_records(server)[-1].lsn
        proof = server.prove(Target(kind))
        with server.recover(proof, own_settings(proof)) as recovery:
            assert f'"{format_lsn(proof.lsn)}"' in recovery.stop_line()
            count = recovery.sql("SELECT count(*) FROM ledger")[0][0]
        if kind == "latest":
            assert count == server.cluster.value("SELECT count(*) FROM ledger")
            assert proof.lsn == last
            assert proof.next_commit is None
        else:
            assert proof.lsn >= server.backups[-1].stop_lsn


def refusal(server: Server, target: Target) -> Refused:
    with pytest.raises(Refused) as caught:
        server.prove(target)
    return caught.value


def test_targets_that_cannot_be_meant(server: Server, ends: list[TransactionEnd]) -> None:
    now = datetime.now(timezone.utc)
    error = refusal(server, Target("time", now + timedelta(hours=1)))
    assert error.code == "target-in-future"

    newest = server.prove(Target("latest")).newest_reachable
    assert newest
    error = refusal(server, Target("time", now))
    assert error.code == "target-after-last-commit"
    assert error.details["last_reachable_commit"]["xid"] == newest.xid
    assert format_lsn(newest.lsn) in error.remedy and "allow_idle_gap" in error.remedy
    proof = server.prove(Target("lsn", newest.lsn))
    assert proof.last_commit and proof.last_commit.xid == newest.xid
    proof = server.prove(Target("time", now, allow_idle_gap=True))
    assert (proof.lsn, proof.inclusive) == (all_records(server)[-1].lsn, True)

    oldest = server.backups[0]
    error = refusal(server, Target("time", oldest.stopped_at - timedelta(seconds=1)))
    assert error.code == "target-before-oldest-backup"
    assert error.details["oldest_backup"] == oldest.label

    error = refusal(server, Target("name", "nemed, with: signs"))
    assert error.code == "restore-point-unknown"
    assert "Nearest name: 'named, with: signs'" in error.remedy
    error = refusal(server, Target("name", "twice"))
    assert error.code == "restore-point-ambiguous" and len(error.details["lsns"]) == 2

    error = refusal(server, Target("xid", newest.xid + 5000))
    assert error.code == "xid-not-in-archive"
    nested = next(end for end in ends if end.committed and end.subxids and end.lsn > oldest.stop_lsn)
    error = refusal(server, Target("xid", nested.subxids[0]))
    assert error.code == "xid-not-in-archive" and f"Ask for xid {nested.xid}." in error.remedy
    aborted = next(end for end in ends if not end.committed and end.xid and end.lsn > oldest.stop_lsn)
    error = refusal(server, Target("xid", aborted.xid))
    assert error.code == "xid-aborted" and format_lsn(aborted.lsn) in error.remedy

    error = refusal(server, Target("lsn", oldest.stop_lsn - 1))
    assert error.code == "lsn-out-of-range" and format_lsn(oldest.stop_lsn) in error.happened
    error = refusal(server, Target("lsn", ends[-1].end_lsn + (64 << 20)))
    assert error.code == "lsn-out-of-range"

    error = refusal(server, Target("latest", timeline=7))
    assert error.code == "timeline-unknown" and "timeline 1" in error.remedy


def test_a_second_proof_reads_only_what_it_must(server: Server, ends: list[TransactionEnd]) -> None:
    server.prove(Target("latest"))
    server.archive.fetched.clear()
    server.prove(Target("latest"))
    assert server.archive.fetched == []
    moment = next(e for e in ends if e.time > server.backups[-1].stopped_at).time
    server.prove(Target("time", moment))
    assert len(set(server.archive.fetched)) <= 3


def test_the_index_is_the_same_however_it_came_about(server: Server) -> None:
    whole = server.index("whole").rebuild(server.archive, server.bin_directory).entries
    later = server.archive.copy(server.sandbox.root / "later")
    names = [path.name for path in later.segments()]
    hidden = server.sandbox.root / "hidden"
    hidden.mkdir()
    choose = random.Random(3)
    order = choose.sample(names, len(names))
    for name in order:
        (later.path / name).rename(hidden / name)
    index = server.index("later-index")
    while order:
        for name in order[:5]:
            (hidden / name).rename(later.path / name)
        order = order[5:]
        # Each time as another process would find it.
        server.index("later-index").refresh(later, server.bin_directory)
    grown = index.refresh(later, server.bin_directory).entries
    strip = {"signature"}
    assert {n: {k: v for k, v in e.__dict__.items() if k not in strip} for n, e in grown.items()} == {
        n: {k: v for k, v in e.__dict__.items() if k not in strip} for n, e in whole.items()
    }


def test_push_indexes_from_the_servers_own_files(server: Server) -> None:
    index = server.index("pushed")
    whole = server.index("whole2").rebuild(server.archive, server.bin_directory).entries
    # The archive's plain files stand for pg_wal: the same bytes under the same names.
    for stored in server.archive.list_files():
        if len(stored.name) == 24:
            path = server.archive.path / stored.name
            digest = subprocess.check_output(["sha256sum", path], text=True).split()[0]
            assert index.add_from_push(str(path), stored, digest, server.bin_directory)
    archive = index.refresh(server.archive, server.bin_directory)
    assert archive.indexed == 0
    assert dict(archive.entries) == dict(whole)
