# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The state of a host after the playbook site, and what check mode says of it."""

from __future__ import annotations

import json
from typing import Any

from tests.playbook_runs import converge_runs, playbook

testinfra_hosts = ["ansible://postgresql"]

VERSIONS = {"deb12": "15", "deb13": "17"}


def sql(host: Any, statement: str) -> str:
    done = host.run("runuser -u postgres -- psql -XAtc %s", statement)
    assert done.rc == 0, done.stderr
    return str(done.stdout.strip())


def version(host: Any) -> str:
    return VERSIONS[host.ansible.get_variables()["inventory_hostname"]]


def test_the_one_cluster_asked_for_runs(host: Any) -> None:
    major = version(host)
    assert host.service(f"postgresql@{major}-main").is_running
    assert host.check_output("pg_lsclusters --no-header").split()[:4] == [major, "main", "5432", "online"]
    assert sql(host, "SELECT current_setting('server_version_num')::int / 10000") == major
    assert sql(host, "SHOW data_checksums") == "on"
    assert sql(host, "SELECT datcollate FROM pg_database WHERE datname = 'template1'") == "C.UTF-8"


def test_settings_are_in_effect(host: Any) -> None:
    wanted = {
        "shared_buffers": "64MB",
        "log_checkpoints": "on",
        "track_commit_timestamp": "on",
        "archive_mode": "on",
        "archive_timeout": "1min",
        "wal_compression": "lz4",
        "archive_command": "/usr/local/bin/dbkeeper archive-push --cluster main %p",
    }
    assert {name: sql(host, f"SHOW {name}") for name in wanted} == wanted
    assert sql(host, "SELECT count(*) FROM pg_settings WHERE pending_restart") == "0"


def test_who_may_connect(host: Any) -> None:
    lines = sql(
        host, "SELECT type, database, user_name, auth_method FROM pg_hba_file_rules ORDER BY line_number"
    )
    assert lines.splitlines()[0] == "local|{replication}|{dbkeeper}|peer"
    assert sql(host, "SELECT count(*) FROM pg_hba_file_rules WHERE error IS NOT NULL") == "0"
    assert sql(
        host, "SELECT rolreplication, rolsuper, rolpassword IS NULL FROM pg_authid WHERE rolname = 'dbkeeper'"
    ) == ("t|f|t")


def test_description_is_for_root_and_the_owner(host: Any) -> None:
    file = host.file("/etc/dbkeeper/main.json")
    assert (file.user, file.group, file.mode) == ("root", "postgres", 0o640)
    assert host.file("/var/lib/dbkeeper/repository").user == "postgres"


def test_there_is_a_verified_backup_and_wal_arrives(host: Any) -> None:
    known = json.loads(host.check_output("runuser -u postgres -- dbkeeper info --cluster main --json"))
    assert [item["status"] for item in known["backups"]] == ["verified"]
    assert sql(host, "SELECT archived_count > 0, last_failed_wal IS NULL FROM pg_stat_archiver") == "t|t"


def test_base_backups_are_scheduled(host: Any) -> None:
    if host.ansible.get_variables()["inventory_hostname"] == "deb12":
        assert host.service("cron").is_running
        keeper = "nice -n 10 ionice -c 2 -n 7 /usr/local/bin/dbkeeper"
        call = f"sh -c '{keeper} backup --cluster main --scheduled && {keeper} expire --cluster main --scheduled'"
        table = host.file("/etc/cron.d/dbkeeper-main").content_string.splitlines()
        (line,) = [one for one in table if call in one]
        assert line.split()[1:6] == ["2", "*", "*", "*", "postgres"]
        assert sum("dbkeeper verify" in one for one in table) == 4
    else:
        assert host.service("dbkeeper-main.target").is_enabled
        for job in ("backup", "check", "verify", "verify-thorough"):
            unit = f"dbkeeper-{job}-main"
            assert host.check_output(f"systemctl is-active {unit}.timer") == "active"
            units = f"/etc/systemd/system/{unit}.timer /etc/systemd/system/{unit}.service"
            assert host.run(f"systemd-analyze verify {units}").rc == 0
        host.check_output("systemctl start dbkeeper-verify-main.service")
        told = host.check_output("journalctl -u dbkeeper-verify-main.service --no-pager")
        assert "everything is good" in told


def test_check_mode_foretold_what_happened_on_bare_hosts() -> None:
    foretold, happened, again = converge_runs()
    assert happened.changed
    assert foretold.changed == happened.changed
    assert again.changed == set()


def test_check_mode_changes_and_foretells_nothing_now(host: Any) -> None:
    name = host.ansible.get_variables()["inventory_hostname"]
    checked = playbook("site", "--check", "--diff", "--limit", name)
    assert checked.status == 0, checked.out
    assert checked.changed == set()
