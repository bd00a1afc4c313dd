# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What can be in a report's way: it is made all the same, and says what it could not see, why, and what to do."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.fleet_hosts import FILES, Report, ask, bed, caught_up, host, report, until

SESSION = "SELECT state FROM pg_stat_activity WHERE application_name = 'fault'"
#: Where replay stands while more has come; without any delay the server shows no other sign of a conflict.
STANDS = "SELECT pg_last_wal_replay_lsn() WHERE pg_last_wal_replay_lsn() < pg_last_wal_receive_lsn()"
#: Who keeps rows from being removed on the primary.
KEEPERS = """
SELECT string_agg(concat_ws(' ', datname, backend_type, application_name, state, backend_xid, backend_xmin), '; ')
FROM pg_stat_activity WHERE backend_xid IS NOT NULL OR backend_xmin IS NOT NULL"""
SETTINGS = ("max_standby_streaming_delay", "hot_standby_feedback")
#: Seconds until a host without power is given up.
PATIENCE = {"ansible_ssh_timeout": 4}
#: As docs/report.md has it.
LOGIN = {
    "login_host": "127.0.0.1",
    "login_user": "report",
    "login_password": "{{ lookup('dbkeeper.ops.secret', (postgresql_primary | default(inventory_hostname, true))"
    " ~ '/main/report', store=postgresql_secret_store) }}",
}


@contextmanager
def held(statement: str) -> Iterator[None]:
    """Somebody else's transaction on the primary stays open until the block ends: not where the vacuum is to come."""
    host("primary").check_output(
        "systemd-run --quiet --uid=postgres --unit=fault --setenv=PGAPPNAME=fault --property=RuntimeMaxSec=300"
        " sh -c %s",
        f"sleep 300 | psql -qX -d bank -c 'BEGIN' -c '{statement}' -f -",
    )
    try:
        until(lambda: ask("primary", SESSION) == "idle in transaction", "the transaction")
        yield
    finally:
        host("primary").run("systemctl stop fault")


@contextmanager
def rejected(database: str) -> Iterator[None]:
    """Somebody's first rule in pg_hba.conf of the primary keeps the report out of a database."""
    path = ask("primary", "SHOW hba_file")
    host("primary").check_output("sed -i '1i host %s report 127.0.0.1/32 reject' %s", database, path)
    ask("primary", "SELECT pg_reload_conf()")
    first = "SELECT database[1] || auth_method FROM pg_hba_file_rules ORDER BY line_number LIMIT 1"
    assert ask("primary", first) == f"{database}reject"
    try:
        yield
    finally:
        host("primary").check_output("sed -i 1d %s", path)
        ask("primary", "SELECT pg_reload_conf()")


def words(told: Report, node: str, part: str, english: str, japanese: str) -> None:
    """The page says a thing of a node in both languages, each with a remedy."""
    for language, expected in (("en", english), ("ja", japanese)):
        said = told.told(node, part, language)
        assert expected in said["why"] and said["remedy"], said
        # Names and what the server said are quoted; all else is in the reader's language.
        assert language == "ja" or "ください" not in said["remedy"]


def conflict() -> None:
    """Cancel a statement of the report on the standby: what it might see is vacuumed on the primary."""
    until(lambda: host("reader").file("/tmp/caught").exists, "the report", 120)
    stands: set[str] = set()

    def met() -> bool:
        for statement in ("CREATE TABLE gone (a int)", "DROP TABLE gone", "VACUUM pg_class"):
            ask("primary", statement)
        stands.clear()
        for _look in range(4):
            time.sleep(0.3)
            stands.add(ask("reader", STANDS))
        return len(stands) == 1 and stands != {""}

    try:
        until(met, "a conflict", 60)
    except AssertionError as error:
        told = f"replay at {sorted(stands)}; on the primary {ask('primary', KEEPERS)}"
        raise AssertionError(f"{error}; {told}; on the reader {ask('reader', KEEPERS)}") from error
    finally:
        host("reader").check_output("touch /tmp/spring")


@pytest.fixture(scope="module")
def hindered() -> Iterator[Report]:
    """A host without power, two databases shut, a table locked, a statement cancelled; read by an ordinary role."""
    bed("poweroff", "spare")
    ask("primary", "ALTER DATABASE sealed CONNECTION LIMIT 0")
    for name, value in zip(SETTINGS, ("0", "off")):
        ask("reader", f"ALTER SYSTEM SET {name} = {value}")
    ask("reader", "SELECT pg_reload_conf()")
    caught_up("reader")
    copied = host("reader").ansible(
        "copy", f"src={FILES / 'ambush.py'} dest=/tmp/ambush.py mode=0644", check=False
    )
    assert "failed" not in copied, copied
    host("reader").check_output("systemd-run --quiet --uid=postgres --unit=ambush python3 /tmp/ambush.py 150")
    with rejected("hidden"), held("LOCK TABLE pgbench_accounts"), ThreadPoolExecutor(1) as pool:
        fault = pool.submit(conflict)
        told = report(report_login=LOGIN, report_fail_on=["unreachable"], **PATIENCE)
        fault.result()
    for name in SETTINGS:
        ask("reader", f"ALTER SYSTEM RESET {name}")
    ask("reader", "SELECT pg_reload_conf()")
    yield told


def test_1_the_page_is_made_and_the_gate_says_who_is_gone(hindered: Report) -> None:
    assert hindered.run.status == 2, hindered.run.out
    assert hindered.states == {"primary": "seen", "reader": "seen", "spare": "unreachable"}
    assert "unreachable:  spare" in hindered.run.out
    assert all(gap[0] and gap[1] and gap[2] for gap in hindered.gaps("spare"))
    for language, what in (("en", "the whole host"), ("ja", "ホスト全体")):
        assert hindered.told("spare", what, language)["remedy"]
    (cluster,) = hindered.page["document"]["clusters"]
    assert {node["name"]: node["state"] for node in cluster["nodes"]} == hindered.states


def test_2_nothing_is_unused_while_a_node_is_gone(hindered: Report) -> None:
    for finding in hindered.findings("IX04"):
        assert (finding["grade"], finding["action"]) == ("insufficient", [])
        assert "spare" in {word["values"]["node"] for word in finding["missing"]}


@pytest.mark.parametrize("name", ["primary", "reader"])
def test_3_a_database_that_lets_nobody_in(hindered: Report, name: str) -> None:
    (gap,) = {gap for gap in hindered.gaps(name) if "sealed" in gap[0]}
    assert "too many connections" in gap[1]
    assert "CONNECTION LIMIT" in gap[2]
    words(hindered, name, "sealed", "does not let us in", "データベースに接続できません")


def test_3_a_database_that_a_rule_keeps_us_out_of(hindered: Report) -> None:
    """On the primary only: each host has rules of its own, and the database is read on the other one."""
    (gap,) = {gap for gap in hindered.gaps("primary") if "hidden" in gap[0]}
    assert "pg_hba.conf rejects connection" in gap[1] and "pg_hba.conf" in gap[2]
    words(hindered, "primary", "hidden", "does not let us in", "データベースに接続できません")
    assert not [gap for gap in hindered.gaps("reader") if "hidden" in gap[0]]


def test_4_a_table_that_is_locked_is_named(hindered: Report) -> None:
    gaps = {gap for gap in hindered.gaps("primary") if "pgbench_accounts" in gap[0]}
    assert gaps
    assert all("exclusive lock" in gap[1] and "pg_locks" in gap[2] for gap in gaps), gaps
    page = json.dumps(hindered.page["document"]["not_seen"], ensure_ascii=False)
    assert "別のセッションが排他ロックを保持または待機しています" in page


def test_5_a_statement_that_recovery_cancelled(hindered: Report) -> None:
    (gap,) = {gap for gap in hindered.gaps("reader") if "recovery on the standby cancelled it" in gap[1]}
    assert "shop" in gap[0] and "max_standby_streaming_delay" in gap[2]
    conflicts = [
        one["texts"]["ja"]["why"]
        for one in hindered.page["document"]["not_seen"]
        if "max_standby_streaming_delay" in one["texts"]["en"]["remedy"]
    ]
    assert conflicts and set(conflicts) == {"スタンバイのリカバリと競合し、取り消されました"}


def test_6_statistics_that_were_reset_and_an_extension_that_is_gone() -> None:
    ask("primary", "SELECT pg_stat_reset()")
    ask("primary", "DROP EXTENSION pg_stat_statements", "postgres")
    caught_up("reader")
    told = report(**PATIENCE)
    assert told.run.status == 0, told.run.out
    (unused,) = [one for one in told.findings("IX04") if one["object"]["name"] == "lineitem_returned"]
    missing = [word["values"] for word in unused["missing"]]
    assert {word["why"] for word in missing if word["node"] == "primary"} == {"reset"}
    for name in ("primary", "reader"):
        (gap,) = {gap for gap in told.gaps(name) if "pg_stat_statements" in " ".join(gap)}
        assert "CREATE EXTENSION" in gap[2], gap
        absent = ("it is not there, or not loaded", "存在しないか、ロードされていません")
        words(told, name, "pg_stat_statements", *absent)
    assert "reset" in unused["texts"]["en"]["missing"]
    assert "リセット" in unused["texts"]["ja"]["missing"], unused["texts"]["ja"]
