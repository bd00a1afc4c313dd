# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A trial of a dump: loaded, proven by its rows, and gone again whatever happens."""

from __future__ import annotations

import json

import psycopg
import pytest

from .harness.cluster import Cluster

NAME = 'odd "name" ツ'


def databases(cluster: Cluster) -> set[str]:
    """Of the cluster."""
    return {str(row[0]) for row in cluster.sql("SELECT datname FROM pg_database")}


@pytest.fixture
def dumped(cluster: Cluster) -> Cluster:
    """It has a database with a dump."""
    quoted = '"' + NAME.replace('"', '""') + '"'
    cluster.sql(f"CREATE DATABASE {quoted}")
    with psycopg.connect(cluster.dsn(), dbname=NAME, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE kept AS SELECT i AS id, md5(i::text) AS word FROM generate_series(1, 3000) i"
        )
    cluster.keeper("dump", "--database", NAME).expect(0)
    return cluster


def test_the_newest_dump_is_loaded_proven_and_gone_again(dumped: Cluster) -> None:
    before = databases(dumped)
    planned = dumped.keeper("verify", "--trial", NAME, "--check").expect(0)
    assert (planned["executed"], databases(dumped)) == (False, before)
    done = dumped.keeper("verify", "--trial", NAME).expect(0)
    assert done["trial"]["database"] == NAME and done["trial"]["rows"] == 3000
    assert databases(dumped) == before
    runs = dumped.keeper("history", "--operation", "trial").expect(0)["runs"]
    assert [run["result"] for run in runs] == ["unchanged"]
    note = json.loads((dumped.repository / dumped.name / "evidence" / "verify.json").read_text())
    assert note["runs"]["trial"]["good"] is True
    dumped.keeper("verify", "--trial", "nowhere").refused("dump-unknown", "nowhere")


def test_a_dump_whose_rows_are_others_fails_and_leaves_nothing(dumped: Cluster) -> None:
    before = databases(dumped)
    (entry,) = (dumped.repository / dumped.name / "dump").glob("*/*/dump.json")
    record = json.loads(entry.read_text())
    (table,) = record["rows"]
    record["rows"][table]["rows"] += 1
    entry.write_text(json.dumps(record))
    dumped.keeper("verify", "--trial", NAME).failed("load-rows-differ")
    assert databases(dumped) == before
    note = json.loads((dumped.repository / dumped.name / "evidence" / "verify.json").read_text())
    assert (note["runs"]["trial"]["good"], note["runs"]["trial"]["fault"]["code"]) == (
        False,
        "load-rows-differ",
    )


def test_a_missed_trial_is_made_up_for_and_one_that_was_not_missed_is_not(dumped: Cluster) -> None:
    """As cron asks each hour; see plugin_utils/_schedules.py."""
    late = ("verify", "--scheduled", "--trial", NAME, "--max-age")
    # No dump has waited that long, and of the other database there is none to wait.
    early = dumped.keeper(*late, "1h").expect(0)
    assert (early["executed"], early["plan"]["reason"]) == (False, None)
    dumped.keeper(*late[:-2], "nowhere", "--max-age", "1s").expect(0)
    (entry,) = (dumped.repository / dumped.name / "dump").glob("*/*/dump.json")
    record = json.loads(entry.read_text())
    record["stopped_at"] = record["started_at"] = "2026-11-01T00:00:00.000000Z"
    entry.write_text(json.dumps(record))
    assert dumped.keeper(*late, "1h").expect(0)["executed"] is True
    again = dumped.keeper(*late, "1h").expect(0)
    note = json.loads((dumped.repository / dumped.name / "evidence" / "verify.json").read_text())
    assert (again["executed"], again["plan"]["reason"]) == (False, note["runs"]["trial"]["ended_at"])
    # A killed one counts for nothing, and the one before is still the last good one.
    dumped.write_config(objectives={"rpo_seconds": 900, "rto_seconds": 1800, "trial_age_seconds": 86400})
    running = dumped.keeper_start("verify", "--trial", NAME, pause_at="*:begun")
    running.wait_paused()
    for state in ("runs", "was killed"):
        if state == "was killed":
            running.kill()
        checks = {item["name"]: item for item in dumped.keeper("check").data["checks"]}
        assert (checks["trial"]["state"], checks["rto"]["state"]) == ("ok", "ok"), (state, checks["trial"])
    assert dumped.keeper(*late, "1h").expect(0)["executed"] is True
    runs = dumped.keeper("history", "--operation", "trial").expect(0)["runs"]
    assert [run["result"] for run in runs] == ["unchanged", "interrupted", "unchanged"]


@pytest.mark.parametrize("at", ["*:begun", "*:done"])
def test_what_a_killed_trial_left_goes_with_the_next_verification(dumped: Cluster, at: str) -> None:
    before = databases(dumped)
    killed = dumped.keeper_start("verify", "--trial", NAME, kill_at=at).wait()
    assert killed.status == -9
    dumped.keeper("verify").expect(0)
    assert databases(dumped) == before
    dumped.keeper("verify", "--trial", NAME).expect(0)
    assert databases(dumped) == before
