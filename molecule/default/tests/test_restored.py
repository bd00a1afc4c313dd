# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A table is dropped under load and brought back by the playbook restore; then the restore is undone."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import testinfra

from tests.playbook_runs import Run, cut_off, playbook

HOSTS = ("deb12", "deb13")
PROGRAMS = Path(__file__).resolve().parents[3] / "playbooks" / "files"
DSN = "host=/run/postgresql dbname=postgres"
LEDGER = "/var/lib/postgresql/ledger"


class Damaged:
    """Hosts whose table is gone, and the moment just before."""

    def __init__(self, hosts: dict[str, Any], moment: str) -> None:
        self.hosts = hosts
        self.moment = moment


def as_postgres(host: Any, command: str, *values: str) -> str:
    done = host.run("runuser -u postgres -- " + command, *values)
    assert done.rc == 0, done.stdout + done.stderr
    return str(done.stdout.strip())


def workload(host: Any, command: str) -> dict[str, Any]:
    return dict(json.loads(as_postgres(host, f"python3 {LEDGER}/ledger_workload.py {command} --dsn '{DSN}'")))


def wait_for(question: Any, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.fixture(scope="module")
def damaged() -> Iterator[Damaged]:
    inventory = os.environ["MOLECULE_INVENTORY_FILE"]
    hosts = {name: testinfra.get_host(f"ansible://{name}", ansible_inventory=inventory) for name in HOSTS}
    for host in hosts.values():
        as_postgres(host, f"mkdir -p {LEDGER}")
        for path in sorted(PROGRAMS.glob("ledger_*.py")):
            done = host.ansible(
                "copy", f"src={path} dest={LEDGER}/ owner=postgres mode=0755", check=False, become=True
            )
            assert "failed" not in done, done
        workload(host, "init --accounts 1000")
        host.check_output(
            f"systemd-run --quiet --uid=postgres --unit=ledger python3 {LEDGER}/ledger_workload.py run"
            f" --dsn '{DSN}' --ledger {LEDGER}/book --workers 2 --until-file {LEDGER}/stop"
        )
    count = "psql -XAtc 'SELECT count(*) > 200 FROM ledger_entries'"
    for host in hosts.values():
        wait_for(lambda host=host: as_postgres(host, count) == "t")
    moment = datetime.now(timezone.utc).isoformat()
    last = {}
    for name, host in hosts.items():
        as_postgres(host, "psql -Xqc 'DROP TABLE pgbench_accounts'")
        as_postgres(host, f"touch {LEDGER}/stop")
        last[name] = as_postgres(host, "psql -XAtc 'SELECT pg_walfile_name(pg_switch_wal())'")
    # Check mode touches nothing, so it can prove no more than what has been archived by itself.
    archived = "psql -XAtc 'SELECT last_archived_wal FROM pg_stat_archiver'"
    for name, host in hosts.items():
        wait_for(lambda host=host: host.run("systemctl is-active ledger").rc != 0)
        wait_for(lambda name=name, host=host: as_postgres(host, archived) >= last[name])
    yield Damaged(hosts, moment)


def table(host: Any) -> str:
    return as_postgres(
        host, "psql -XAtc %s", "SELECT coalesce(to_regclass('pgbench_accounts')::text, 'gone')"
    )


def data_directories(host: Any) -> str:
    return str(host.check_output("ls -d /var/lib/postgresql/*/main*"))


def restore(damaged: Damaged, *arguments: str) -> Run:
    return playbook("restore", *target(damaged), *arguments)


def target(damaged: Damaged) -> list[str]:
    return ["-e", json.dumps({"restore_target_time": damaged.moment})]


def test_1_a_backup_that_is_young_enough_is_enough(damaged: Damaged) -> None:
    done = playbook("backup", "-e", "backup_max_age=1h")
    assert (done.status, done.changed) == (0, set()), done.out


def test_2_without_confirmation_nothing_is_touched(damaged: Damaged) -> None:
    before = {name: data_directories(host) for name, host in damaged.hosts.items()}
    refused = restore(damaged)
    assert refused.status != 0
    assert "confirmation-missing" in refused.out or "restore_confirm" in refused.out
    assert {name: data_directories(host) for name, host in damaged.hosts.items()} == before
    assert {table(host) for host in damaged.hosts.values()} == {"gone"}


def test_3_check_mode_shows_the_card(damaged: Damaged) -> None:
    before = {name: data_directories(host) for name, host in damaged.hosts.items()}
    checked = restore(damaged, "--check")
    assert checked.status == 0, checked.out
    assert "-full" in checked.out
    assert {name: data_directories(host) for name, host in damaged.hosts.items()} == before


def test_4_losing_the_controller_does_not_lose_the_restore(damaged: Damaged) -> None:
    printed = cut_off("restore", *target(damaged), "-e", "restore_confirm=main", when=": restore · ")
    assert "restore · " in printed


def test_5_everything_committed_before_the_drop_is_back(damaged: Damaged) -> None:
    done = restore(damaged, "-e", "restore_confirm=main")
    assert done.status == 0, done.out
    assert "RETRYING" not in done.out
    for name, host in damaged.hosts.items():
        assert f"{name} | " in done.out
        assert table(host) == "pgbench_accounts"
        found = workload(host, f"verify --ledger {LEDGER}/book --target-time {damaged.moment}")
        assert found["exact"], found


def test_6_the_same_restore_again_changes_nothing(damaged: Damaged) -> None:
    again = restore(damaged, "-e", "restore_confirm=main")
    assert (again.status, again.changed) == (0, set()), again.out


def test_7_roles_find_nothing_to_change_after_a_restore(damaged: Damaged) -> None:
    again = playbook("site")
    assert (again.status, again.changed) == (0, set()), again.out


def test_8_undo_puts_the_damaged_data_back(damaged: Damaged) -> None:
    done = playbook("undo", "-e", "restore_confirm=main")
    assert done.status == 0, done.out
    assert {table(host) for host in damaged.hosts.values()} == {"gone"}
