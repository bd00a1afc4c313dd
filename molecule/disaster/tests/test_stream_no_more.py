# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Who does not want WAL streamed any more says so in the inventory, and nothing of it stays: no slot above all."""

from __future__ import annotations

import json

from tests.disaster_hosts import host, postgres, streaming_unit
from tests.playbook_runs import playbook

WITHOUT = ("--limit", "spare", "--tags", "backup", "-e", json.dumps({"backup_receive": False}))
SLOTS = "SELECT count(*) FROM pg_replication_slots"
ROLES = "SELECT count(*) FROM pg_roles WHERE rolname = 'dbkeeper_receive'"


def test_1_the_stream_ends_and_its_slot_goes_before_the_guard() -> None:
    spare, repository = host("spare"), host("repository")
    unit = streaming_unit()
    assert postgres(spare, SLOTS) == "1"
    foretold = playbook("site", *WITHOUT, "--check")
    assert foretold.status == 0, foretold.out
    assert (
        "spare",
        "dbkeeper.ops.backup : Receive end | Let the server keep WAL for it no longer",
    ) in foretold.changed
    assert postgres(spare, SLOTS) == "1"
    done = playbook("site", *WITHOUT)
    assert done.status == 0, done.out
    assert (postgres(spare, SLOTS), postgres(spare, ROLES)) == ("0", "0")
    assert postgres(spare, "SHOW max_slot_wal_keep_size") != "1GB"
    assert not repository.service(unit).is_running
    assert repository.run(f"ls /etc/systemd/system/{unit} /var/lib/dbkeeper/.receive*").stdout == ""
    # What it had received is somebody's WAL.
    assert repository.run("ls -d /srv/dbkeeper/app/main/receive/[0-9]*").rc == 0


def test_2_a_second_run_finds_nothing_to_end() -> None:
    again = playbook("site", *WITHOUT)
    assert (again.status, again.changed) == (0, set()), again.out
