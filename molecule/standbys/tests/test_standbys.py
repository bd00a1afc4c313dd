# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The primary is restored by the playbook, and its standbys stream the new timeline when the playbook has ended."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import testinfra

from tests.playbook_runs import Run, playbook

RESTORE = ("restore", "-e", "restore_target_name=before")
CONFIRM = ("-e", "restore_confirm=main")
STANDBYS = ("ahead", "behind")
FOLLOWS = "Have it stream from its primary"
DATA = "/var/lib/postgresql/15"
RECEIVES = "SELECT pg_is_in_recovery(), status, received_tli FROM pg_stat_wal_receiver"
SENDS = (
    "SELECT string_agg(slot_name || ' ' || state, ', ' ORDER BY slot_name) FROM pg_stat_replication r"
    " JOIN pg_replication_slots s ON s.active_pid = r.pid"
)


def host(name: str) -> Any:
    """A host as testinfra sees it."""
    return testinfra.get_host(f"ansible://{name}", ansible_inventory=os.environ["MOLECULE_INVENTORY_FILE"])


def ask(name: str, statement: str) -> str:
    """What the superuser is told over the socket."""
    done = host(name).run("runuser -u postgres -- psql -XAt -c %s", statement)
    assert done.rc == 0, done.stderr
    return str(done.stdout.strip())


def until(question: Callable[[], object], what: str, seconds: float = 240) -> None:
    """Wait for it."""
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.1)


def rows(name: str) -> list[int]:
    """What is in the table of this test, also of a database that may not have it yet."""
    listed = host(name).run("runuser -u postgres -- psql -XAt -c 'SELECT n FROM book ORDER BY n'").stdout
    return [int(line) for line in listed.split()]


def directories(name: str) -> dict[str, str]:
    """What lies where the data of a standby lies, by name: the inode, which a rename leaves as it is."""
    listed = host(name).check_output(f"stat --format '%n %i' {DATA}/*")
    return {line.split()[0].rpartition("/")[2]: line.split()[1] for line in listed.splitlines()}


def unchanged(name: str) -> str:
    """Of a standby what nobody may touch: its data directory, the server in it, and its configuration."""
    told = host(name).check_output(
        f"head -n 1 {DATA}/main/postmaster.pid; stat --format %y {DATA}/main/postgresql.auto.conf"
    )
    return f"{told} {directories(name)}"


def streaming(timeline: int) -> None:
    """All sides say so, and what is committed on the one is seen on the others."""
    # It catches up first.
    until(lambda: ask("primary", SENDS) == "ahead streaming, behind streaming", "both being sent to")
    ask("primary", f"INSERT INTO book VALUES ({1000 + timeline})")
    for name in STANDBYS:
        until(lambda name=name: ask(name, RECEIVES) == f"t|streaming|{timeline}", f"{name} receiving")
        until(lambda name=name: rows(name) == rows("primary"), f"the primary's rows on {name}")


@dataclass(frozen=True)
class Told:
    """What was seen before the restore, and of it."""

    refused: Run
    checked: Run
    restored: Run
    again: Run
    before: dict[str, dict[str, str]]
    after: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def told() -> Told:
    until(lambda: ask("primary", SENDS) == "ahead streaming, behind streaming", "both being sent to")
    ask("primary", "CREATE TABLE book AS SELECT generate_series(1, 3) AS n")
    for name in STANDBYS:
        until(lambda name=name: rows(name) == [1, 2, 3], f"three rows on {name}")
    # One is away from here on, for several segments.
    host("behind").check_output("systemctl stop postgresql@15-main")
    for number in (4, 5, 6):
        ask("primary", f"INSERT INTO book VALUES ({number})")
        ask("primary", "SELECT pg_switch_wal()")
    ask("primary", "SELECT pg_create_restore_point('before')")
    ask("primary", "INSERT INTO book VALUES (7), (8)")
    last = ask("primary", "SELECT pg_walfile_name(pg_switch_wal())")
    until(
        lambda: ask("primary", "SELECT last_archived_wal FROM pg_stat_archiver") >= last, f"{last} archived"
    )
    until(lambda: rows("ahead")[-1] == 8, "the last row on the standby that is ahead")

    ahead = unchanged("ahead")
    before = {name: directories(name) for name in STANDBYS}
    refused = playbook("restore", "-e", "restore_target_name=never", *CONFIRM)
    checked = playbook(*RESTORE, "--check")
    assert unchanged("ahead") == ahead
    assert directories("behind") == before["behind"]
    assert not host("behind").service("postgresql@15-main").is_running
    assert (rows("primary")[-1], rows("ahead")[-1]) == (8, 8)

    restored = playbook(*RESTORE, *CONFIRM)
    after = {name: directories(name) for name in STANDBYS}
    return Told(refused, checked, restored, playbook(*RESTORE, *CONFIRM), before, after)


def test_1_a_refused_restore_touches_no_standby(told: Told) -> None:
    assert told.refused.status != 0 and "restore-point-unknown" in told.refused.out
    assert told.refused.changed == set()


def test_2_check_mode_says_what_would_be_done(told: Told) -> None:
    """The fixture has seen that nothing was done. The one that is away would be started; the other streams still."""
    assert told.checked.status == 0, told.checked.out
    assert told.checked.changed == {("primary", "Restore the cluster to the target"), ("behind", FOLLOWS)}


def test_3_the_restore_ends_with_standbys_that_stream_the_new_timeline(told: Told) -> None:
    assert told.restored.status == 0, told.restored.out
    # No standby was restored from a backup of its own.
    assert {pair for pair in told.restored.changed if pair[0] != "primary"} == {
        (name, FOLLOWS) for name in STANDBYS
    }
    assert rows("primary") == [1, 2, 3, 4, 5, 6]
    assert ask("primary", "SELECT timeline_id FROM pg_control_checkpoint()") == "2"
    streaming(2)


def test_4_one_that_was_ahead_was_made_anew_and_what_it_had_is_kept(told: Told) -> None:
    before, after = told.before["ahead"], told.after["ahead"]
    assert after["main"] != before["main"]
    added = sorted(set(after) - set(before))
    assert [after[name] for name in added] == [before["main"]], added
    control = f"/usr/lib/postgresql/15/bin/pg_controldata {DATA}/{added[0]}"
    assert "shut down in recovery" in host("ahead").check_output(control)


def test_5_one_that_was_behind_followed_by_itself(told: Told) -> None:
    assert told.after["behind"] == told.before["behind"]


def test_6_one_after_the_other(told: Told) -> None:
    """The second is not looked at before the first streams."""
    plays = told.restored.out.partition("PLAY [Have standbys follow their primary]")[2]
    first, second = (plays.index(f"changed: [{name}]") for name in STANDBYS)
    assert first < plays.index("[behind]") < second


def test_7_the_same_command_again_changes_nothing(told: Told) -> None:
    assert (told.again.status, told.again.changed) == (0, set()), told.again.out


def test_8_the_playbook_site_finds_nothing_to_change(told: Told) -> None:
    """On a standby nothing is backed up, and nothing is scheduled that could only fail there."""
    again = playbook("site")
    assert (again.status, again.changed) == (0, set()), again.out
    for name in STANDBYS:
        assert not host(name).file("/etc/cron.d/dbkeeper-main").exists
        assert host(name).run("ls /var/lib/dbkeeper/repository/main/base/*").rc != 0
    assert host("primary").file("/etc/cron.d/dbkeeper-main").exists
