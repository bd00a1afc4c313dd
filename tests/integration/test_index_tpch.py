# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""All that is proposed for a schema with skewed data is done on a copy: no statement's plan gets worse, by the
planner's cost and by the blocks that are read, and no constraint or foreign key loses its support."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.fleet import across
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.limits import Limits
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.look import Request, look_at
from tests.schemas import tpch

from .harness.cluster import Cluster
from .harness.installation import installations
from .harness.sandbox import Sandbox
from .harness.template import SUPERUSER
from .harness.waiting import wait_for

LIMITS = Limits(drop_bytes=0)
#: Statement -> the planner's cost, blocks touched when all is in memory.
Figures = dict[str, tuple[float, int]]
STATEMENTS = tpch.statements()
FEW = 64
READING = [(name, statement) for name, statement in STATEMENTS.items() if not name.startswith("w")]
#: What the schema refuses, by a constraint each.
REFUSED = (
    ("INSERT INTO region VALUES (9, 'ASIA')", psycopg.errors.UniqueViolation),
    ("INSERT INTO customer VALUES (-1, 'x', 1, 'x', 0, 'x', 'c17@example.org')", psycopg.errors.UniqueViolation),
    ("INSERT INTO partsupp SELECT * FROM partsupp LIMIT 1", psycopg.errors.UniqueViolation),
    ("INSERT INTO orders VALUES (-1, -1, 'O', 0, '2026-01-01', '', '')", psycopg.errors.ForeignKeyViolation),
    ("DELETE FROM part WHERE p_partkey = 1", psycopg.errors.ForeignKeyViolation),
    ("DELETE FROM nation WHERE n_nationkey = 1", psycopg.errors.ForeignKeyViolation),
)  # fmt: skip


class Shop:
    """A server with the schema at a scale."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def look(self, **options: Any) -> dict[str, Any]:
        login = {
            "login_unix_socket": str(self.cluster.socket_directory),
            "login_port": self.cluster.port,
            "login_user": SUPERUSER,
            "login_db": "postgres",
        }
        request = Request(login, str(self.cluster.root / "report"), ("postgres",), LIMITS, **options)
        return json.loads(json.dumps(look_at(request)))  # type: ignore[no-any-return]

    def work(self) -> None:
        """Every statement, as an application sends it; nothing is kept of what is written."""
        with self.cluster.connect() as connection:
            for statement in STATEMENTS.values():
                connection.execute("BEGIN")
                connection.execute(statement.encode())
                connection.execute("ROLLBACK")

    def figures(self) -> Figures:
        """As the copy is now."""
        # What was rolled back leaves marks on pages; building an index counts them.
        self.cluster.sql("VACUUM")
        found = {}
        with self.cluster.connect() as connection:
            for name, statement in [*READING, *STATEMENTS.items()]:
                connection.execute("BEGIN")
                said = connection.execute(
                    f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {statement}".encode()
                ).fetchall()
                connection.execute("ROLLBACK")
                root = said[0][0][0]["Plan"]
                found[name] = (root["Total Cost"], root["Shared Hit Blocks"] + root["Shared Read Blocks"])
        return found


def majors() -> list[Any]:
    """15 at every run, small; 17 and 18 in the matrix, larger."""
    return [
        pytest.param(major, scale, marks=() if scale < 0.02 else pytest.mark.matrix)
        for major, scale in ((15, 0.005), (15, 0.02), (17, 0.02), (18, 0.02))
        if major in installations()
    ]


@pytest.mark.parametrize(("major", "scale"), majors())
def test_all_that_is_proposed_makes_nothing_worse(major: int, scale: float, sandbox: Sandbox) -> None:
    origin = Cluster(
        sandbox,
        installation=installations()[major],
        archiving=False,
        settings={"shared_preload_libraries": "pg_stat_statements"},
    ).start()
    origin.sql("CREATE EXTENSION pg_stat_statements")
    origin.sql(tpch.schema_sql(scale))
    origin.sql("VACUUM ANALYZE")
    origin.sql("SELECT pg_stat_reset(), pg_stat_statements_reset()")
    shop = Shop(origin)
    shop.look()
    shop.work()
    used = "SELECT sum(idx_scan) FROM pg_stat_user_indexes WHERE relname = 'orders'"
    wait_for(lambda: int(origin.value(used) or 0) > 3, "the scans of the workload")
    result = shop.look()
    proposed = [one for one in result["findings"] if one["class"] in ("IX02", "IX03", "IX07")]
    rows = result["facts"]["databases"]["postgres"]["unused"]
    watched = max(row["until"] - row["since"] for row in rows)
    proposed += [
        one.to_dict() for one in across([result], limits=Limits(unused_seconds=watched - 1e-3, drop_bytes=0))
    ]
    origin.stop()
    copy = Cluster(
        sandbox, root=sandbox.root / "copy", installation=origin.installation, archiving=False, origin=origin,
        settings={"shared_preload_libraries": "pg_stat_statements"},
    ).start()  # fmt: skip
    shop = Shop(copy)
    before = shop.figures()
    more = [one for one in shop.look(missing="build", is_copy=True)["findings"] if one["class"] == "IX08"]
    done = [one for one in [*proposed, *more] if one["grade"] in ("measured", "validated")]
    assert {one["object"]["name"] for one in done if one["class"] in ("IX02", "IX03", "IX04")} >= {
        "orders_clerk_again", "customer_email", "orders_open", "orders_date_ranges",
    }  # fmt: skip
    assert {tuple(one["object"]["columns"]) for one in more if one["grade"] == "measured"}
    doubtful = {one["object"]["name"]: one for one in proposed if one["grade"] == "heuristic"}
    assert doubtful["lineitem_order"]["says"]["key"] == "IX03_ordered"
    do(copy, done)
    after = shop.figures()
    assert worse(before, after) == {}
    assert {one["id"] for one in shop.look(check=True)["findings"] if one["class"] == "IX07"} == set()
    with copy.connect() as connection:
        for statement, error in REFUSED:
            with pytest.raises(error):
                connection.execute(statement.encode())
    # What is told with a doubt is doubtful: a query is dearer by the index that remains, and reads more.
    do(copy, [doubtful["lineitem_order"]])
    without = shop.figures()
    assert any(without[name][0] > 1.2 * cost for name, (cost, _blocks) in after.items())
    assert scale < 0.02 or worse(after, without)


def do(cluster: Cluster, findings: list[dict[str, Any]]) -> None:
    """Act on findings, in their order."""
    with cluster.connect() as connection:
        for one in sorted(findings, key=lambda one: one["order"]):
            for statement in one["action"]:
                connection.execute(statement.encode())


def worse(before: Figures, after: Figures) -> dict[str, tuple[Any, Any]]:
    """What reads a quarter and half a megabyte more, or both costs and reads more."""
    found = {}
    for name, (cost, blocks) in before.items():
        cost_now, blocks_now = after[name]
        dearer = cost_now > 1.05 * cost and blocks_now > 1.02 * blocks + 1
        if dearer or blocks_now > 1.25 * blocks + FEW:
            found[name] = (before[name], after[name])
    return found
