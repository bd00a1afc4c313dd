# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""All that is proposed is dropped on a copy, and the workload runs: nothing gets worse, nothing loses its support.

The schema is that of pgbench beside a partitioned time series and a queue, each with the indexes that people add.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.fleet import across
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.limits import Limits
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.look import Request, look_at

from .harness.cluster import Cluster
from .harness.installation import each_major, installations
from .harness.sandbox import Sandbox
from .harness.template import SUPERUSER
from .harness.waiting import wait_for

SCHEMA = Path(__file__).with_name("index_workload.sql")
LIMITS = Limits(drop_bytes=0)
#: Each statement with the blocks that it may read more of: a longer index than the dropped one is a little deeper.
WORKLOAD = (
    "SELECT abalance FROM pgbench_accounts WHERE aid = 4711",
    "SELECT count(*), sum(abalance) FROM pgbench_accounts WHERE bid = 1 AND aid BETWEEN 100 AND 900",
    "SELECT * FROM pgbench_history WHERE tid = 3 ORDER BY mtime DESC LIMIT 10",
    "SELECT * FROM pgbench_history WHERE tid = 3 AND mtime > '2026-01-01' ORDER BY mtime LIMIT 5",
    "SELECT max(value) FROM readings WHERE sensor = 7 AND at >= '2026-02-03' AND at < '2026-02-05'",
    "SELECT * FROM readings WHERE sensor = 7 ORDER BY at DESC LIMIT 3",
    "SELECT count(*) FROM readings WHERE sensor = 9",
    "SELECT id FROM jobs WHERE state = 'ready' ORDER BY priority DESC, id LIMIT 1",
    "SELECT id FROM jobs WHERE lower(owner) = 'owner 17'",
    "SELECT id FROM jobs WHERE owner = 'owner 17'",
    "SELECT id FROM jobs WHERE owner LIKE 'owner 17%'",
    "SELECT id FROM jobs ORDER BY owner LIMIT 3",
    "SELECT count(*) FROM job_steps WHERE job = 55",
    "SELECT count(*) FROM job_steps JOIN jobs ON jobs.id = job_steps.job WHERE jobs.id = 99",
    "UPDATE jobs SET state = 'done' WHERE id = 12",
    "DELETE FROM jobs WHERE id = 19999",
)
_JOB = "INSERT INTO jobs (id, state, priority, owner, code) VALUES"
REFUSED = (
    (f"{_JOB} (1, 'x', 1, 'x', 'x')", psycopg.errors.UniqueViolation),
    (f"{_JOB} (-1, 'x', 1, 'x', 'c5')", psycopg.errors.UniqueViolation),
    ("INSERT INTO job_steps VALUES (-5, 1)", psycopg.errors.ForeignKeyViolation),
    ("DELETE FROM jobs WHERE id = 55", psycopg.errors.ForeignKeyViolation),
)
UPSERT = f"{_JOB} (-9, 'x', 1, 'x', 'c5') ON CONFLICT (code) DO NOTHING"


def look(cluster: Cluster, place: str) -> dict[str, Any]:
    login = {
        "login_unix_socket": str(cluster.socket_directory),
        "login_port": cluster.port,
        "login_user": SUPERUSER,
        "login_db": "postgres",
    }
    request = Request(login, str(cluster.root / place), ("postgres",), LIMITS)
    return json.loads(json.dumps(look_at(request)))  # type: ignore[no-any-return]


def blocks(cluster: Cluster) -> dict[str, int]:
    """Statement -> blocks that it touches, when all is in memory; rolled back."""
    found = {}
    with cluster.connect() as connection:
        for _round in range(2):
            for statement in WORKLOAD:
                connection.execute("BEGIN")
                plan = connection.execute(
                    f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}".encode()
                ).fetchall()
                connection.execute("ROLLBACK")
                root = plan[0][0][0]["Plan"]
                found[statement] = root["Shared Hit Blocks"] + root["Shared Read Blocks"]
    return found


@pytest.mark.parametrize("major", each_major(15))
def test_dropping_all_that_is_proposed_makes_nothing_worse(major: int, sandbox: Sandbox) -> None:
    origin = Cluster(sandbox, installation=installations()[major], archiving=False).start()
    origin.program(
        "pgbench", "-i", "-s", "1", "-q", "-h", str(origin.socket_directory), "-p", str(origin.port),
        "-U", SUPERUSER, "postgres",
    )  # fmt: skip
    origin.sql(SCHEMA.read_text())
    origin.sql("VACUUM ANALYZE")
    origin.sql("SELECT pg_stat_reset()")
    look(origin, "report")
    blocks(origin)
    # The last statement of both rounds; what was counted before it has come with it, or earlier.
    last = "SELECT n_tup_del FROM pg_stat_user_tables WHERE relname = 'jobs'"
    wait_for(lambda: int(origin.value(last) or 0) >= 2, "the scans of the workload")
    result = look(origin, "report")
    proposed = [one for one in result["findings"] if one["class"] in ("IX02", "IX03")]
    # Unused is what was not scanned since the first look; from 16 on the server knows each last scan.
    rows = result["facts"]["databases"]["postgres"]["unused"]
    watched = max(row["until"] - row["since"] for row in rows)
    short = Limits(unused_seconds=watched - 1e-3, drop_bytes=0)
    proposed += [one.to_dict() for one in across([result], limits=short)]
    chosen = sorted(
        (one for one in proposed if one["action"] and one["grade"] in ("measured", "validated")),
        key=lambda one: one["order"],
    )
    names = {one["object"]["name"] for one in chosen}
    assert names == {
        "accounts_aid", "accounts_aid_again", "accounts_bid_aid", "history_tid", "readings_1_own",
        "jobs_state", "jobs_code", "jobs_never", "steps_job",
    }  # fmt: skip
    # Its parts are scanned, and the longer one is more than three times as large.
    (larger,) = [one for one in proposed if one["object"]["name"] == "readings_sensor"]
    assert (larger["grade"], larger["says"]["key"]) == ("heuristic", "IX03_larger")
    unbacked = {one["id"] for one in result["findings"] if one["class"] == "IX07"}
    origin.stop()
    copy = Cluster(
        sandbox, root=sandbox.root / "copy", installation=origin.installation, archiving=False, origin=origin
    )
    copy.start()
    before = blocks(copy)
    with copy.connect() as connection:
        for one in chosen:
            for statement in one["action"]:
                connection.execute(statement.encode())
    copy.sql("VACUUM ANALYZE")
    after = blocks(copy)
    worse = {
        statement: (before[statement], after[statement])
        for statement in WORKLOAD
        if after[statement] > 1.25 * before[statement] + 4
    }
    assert worse == {}
    assert {one["id"] for one in look(copy, "report")["findings"] if one["class"] == "IX07"} == unbacked
    with copy.connect() as connection:
        for statement, error in REFUSED:
            with pytest.raises(error):
                connection.execute(statement.encode())
        connection.execute(UPSERT.encode())
    copy.program(
        "pgbench", "-n", "-t", "50", "-c", "2", "-h", str(copy.socket_directory), "-p", str(copy.port),
        "-U", SUPERUSER, "postgres",
    )  # fmt: skip
