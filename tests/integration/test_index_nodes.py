# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Unused is what no node uses: a real primary and a real standby, resets, crashes, and the planner's own scans."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.finding import Finding
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.fleet import across
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.limits import Limits
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.look import Request, look_at

from .harness.cluster import Cluster
from .harness.sandbox import Sandbox
from .harness.template import SUPERUSER
from .harness.waiting import wait_for

SCHEMA = """
CREATE TABLE orders (id int PRIMARY KEY, customer int, state int, note text, day int);
INSERT INTO orders SELECT g, g % 500, g % 3, g::text, g % 365 FROM generate_series(1, 20000) g;
CREATE INDEX nobody ON orders (state, day);
CREATE INDEX reports ON orders (customer);
CREATE INDEX busy ON orders (day);
CREATE INDEX worded ON orders (lower(note));
CREATE TABLE lines (id int PRIMARY KEY, order_id int REFERENCES orders (id));
CREATE INDEX lines_order ON lines (order_id);
VACUUM ANALYZE;
"""
SHORT = Limits(unused_seconds=0.0, drop_bytes=0)
LONG = Limits(drop_bytes=0)


class Nodes:
    """A primary, its standby, and one place where what earlier looks knew is kept."""

    def __init__(self, place: Sandbox) -> None:
        self.primary = Cluster(place, archiving=False).start()
        for statement in SCHEMA.strip().split(";\n"):
            self.primary.sql(statement)
        self.primary.stop()
        self.standby = Cluster(place, root=place.root / "standby", archiving=False, origin=self.primary)
        (self.standby.data_directory / "standby.signal").touch()
        self.standby.set(
            primary_conninfo=f"host={self.primary.socket_directory} port={self.primary.port} user=postgres"
        )
        self.primary.start()
        self.standby.start()
        wait_for(lambda: self.primary.sql("SELECT 1 FROM pg_stat_replication"), "the standby")

    def look(self, cluster: Cluster) -> dict[str, Any]:
        login = {
            "login_unix_socket": str(cluster.socket_directory),
            "login_port": cluster.port,
            "login_user": SUPERUSER,
            "login_db": "postgres",
        }
        request = Request(login, str(self.primary.root / "report"), ("postgres",), SHORT)
        return json.loads(json.dumps(look_at(request)))  # type: ignore[no-any-return]

    def both(self) -> list[dict[str, Any]]:
        return [self.look(self.primary), self.look(self.standby)]

    def scan(self, cluster: Cluster, index: str, query: str) -> None:
        """Let a query use an index; its counters are seen once its session has gone."""
        before = scans(cluster, index)
        with cluster.connect() as connection:
            connection.execute("SET enable_seqscan = off")
            for _round in range(3):
                connection.execute(query.encode()).fetchall()
        wait_for(lambda: scans(cluster, index) >= before + 3, f"scans of {index}")


def scans(cluster: Cluster, index: str) -> int:
    return int(
        cluster.value("SELECT pg_stat_get_numscans(%s::regclass) FROM pg_stat_clear_snapshot()", index)
    )


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    place = Sandbox()
    try:
        yield Nodes(place)
    finally:
        place.close()


def unused(results: list[dict[str, Any]], **options: Any) -> dict[str, Finding]:
    options = {"names": ["one", "two"][: len(results)], "limits": SHORT, **options}
    return {finding.thing["name"]: finding for finding in across(results, **options)}


def missing(finding: Finding) -> set[str]:
    return {str(word.values["node"]) for word in finding.missing}


def test_10_an_index_that_only_the_standby_uses_is_used(nodes: Nodes) -> None:
    nodes.both()
    nodes.scan(nodes.standby, "reports", "SELECT count(*) FROM orders WHERE customer = 7")
    nodes.scan(nodes.primary, "busy", "SELECT count(*) FROM orders WHERE day = 7")
    moved = nodes.both()
    alone = unused(moved[:1], expected_nodes=["one", "two"])
    assert scans(nodes.primary, "reports") == 0
    assert alone["reports"].grade == "insufficient" and missing(alone["reports"]) == {"two"}
    assert not alone["reports"].action
    both = unused(moved, expected_nodes=["one", "two"], limits=Limits(unused_seconds=1e-6, drop_bytes=0))
    assert {"reports", "busy"} & {name for name, one in both.items() if one.grade == "measured"} == set()
    found = both["nobody"]
    assert (found.grade, found.severity, found.missing) == ("measured", "medium", ())
    assert found.action == ('DROP INDEX CONCURRENTLY "public"."nobody";',)
    assert found.undo == ("CREATE INDEX CONCURRENTLY nobody ON public.orders USING btree (state, day);",)
    assert found.nodes == ("one", "two")


def test_what_guards_are_for_is_never_unused(nodes: Nodes) -> None:
    found = unused(nodes.both())
    assert not {"lines_order", "lines_pkey", "orders_pkey"} & set(found)
    assert found["worded"].grade != "measured", "its statistics may steer plans"


def test_a_window_that_is_too_short_is_not_enough(nodes: Nodes) -> None:
    results = nodes.both()
    found = unused(results, limits=LONG)["nobody"]
    assert found.grade == "insufficient" and not found.action and not found.undo
    assert {word.key for word in found.missing} == {"window"}
    assert missing(found) == {"one", "two"}
    assert all(word.values["needed_seconds"] == 35 * 86400 for word in found.missing)


def test_a_standby_that_nobody_asked_is_missing(nodes: Nodes) -> None:
    """No inventory named it; the primary's own list of standbys does."""
    found = unused([nodes.look(nodes.primary)])["nobody"]
    assert found.grade == "insufficient"
    found = unused([nodes.look(nodes.standby)])["nobody"]
    assert (found.grade, missing(found)) == ("insufficient", {"primary"})
    found = unused(nodes.both(), unseen={"three": "unreachable"})["nobody"]
    assert (found.grade, missing(found)) == ("insufficient", {"three"})


def test_what_only_receives_wal_answers_no_queries(nodes: Nodes) -> None:
    """An archive that is fed by streaming is no node whose scans are missing."""
    directory = nodes.primary.root / "received"
    directory.mkdir()
    place = ["-h", str(nodes.primary.socket_directory), "-p", str(nodes.primary.port), "-U", SUPERUSER]
    program = nodes.primary.installation.program("pg_receivewal")
    receiver = subprocess.Popen(
        [program, *place, "-D", str(directory), "--no-sync"],
        env={**nodes.primary.installation.environment, "PGAPPNAME": "archive"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        there = "SELECT 1 FROM pg_stat_replication WHERE application_name = 'archive' AND state = 'streaming'"
        wait_for(lambda: nodes.primary.sql(there), "the receiver")
        told = [standby["name"] for standby in nodes.look(nodes.primary)["facts"]["standbys"]]
    finally:
        receiver.terminate()
        receiver.communicate(timeout=240)
    assert len(told) == 1 and told != ["archive"]


def since(result: dict[str, Any], index: str) -> float:
    rows = result["facts"]["databases"]["postgres"]["unused"]
    return float(next(row["since"] for row in rows if row["index"] == index))


def why(result: dict[str, Any], index: str) -> str:
    rows = result["facts"]["databases"]["postgres"]["unused"]
    return str(next(row["why"] for row in rows if row["index"] == index))


def reset(nodes: Nodes) -> None:
    nodes.primary.sql("SELECT pg_stat_reset()")


def crash(nodes: Nodes) -> None:
    nodes.primary.crash()
    nodes.primary.start()


@pytest.mark.parametrize("break_proof", [reset, crash], ids=["reset", "crash"])
def test_the_window_begins_anew(nodes: Nodes, break_proof: Callable[[Nodes], None]) -> None:
    """Counters are zero before and after: what was counted between is lost, and with it the proof."""
    first = since(nodes.look(nodes.primary), "nobody")
    assert since(nodes.look(nodes.primary), "nobody") == first, "nothing happened, so the window goes on"
    nodes.primary.restart()
    assert since(nodes.look(nodes.primary), "nobody") == first, "a clean restart keeps statistics"
    break_proof(nodes)
    later = nodes.look(nodes.primary)
    assert since(later, "nobody") > first
    assert why(later, "nobody") == "reset"
    assert since(nodes.look(nodes.primary), "nobody") == since(later, "nobody")


def test_an_index_that_was_made_again_has_a_window_of_its_own(nodes: Nodes) -> None:
    first = since(nodes.look(nodes.primary), "nobody")
    nodes.primary.sql("DROP INDEX nobody")
    nodes.primary.sql("CREATE INDEX nobody ON orders (state, day)")
    assert since(nodes.look(nodes.primary), "nobody") > first


def test_8_a_scan_is_no_proof_of_use(nodes: Nodes) -> None:
    """Two plans that read the table, not the index, and nothing is executed: the server counts scans of the index."""
    nodes.primary.sql("CREATE TABLE probed (a int, b int)")
    nodes.primary.sql("INSERT INTO probed SELECT g, g FROM generate_series(1, 50000) g")
    nodes.primary.sql("CREATE INDEX probed_a ON probed (a)")
    nodes.primary.sql("VACUUM ANALYZE probed")
    with nodes.primary.connect() as connection:
        for value in (1, 2):
            plan = connection.execute(f"EXPLAIN SELECT * FROM probed WHERE a >= {value}".encode()).fetchall()
            assert "Seq Scan" in plan[0][0]
    wait_for(lambda: scans(nodes.primary, "probed_a") > 0, "the planner's scans")
    result = nodes.look(nodes.primary)
    found = unused([result], limits=LONG)["probed_a"]
    assert found.value["scans"] == scans(nodes.primary, "probed_a")
    assert (found.says.key, found.grade, found.action) == ("IX04_probes", "insufficient", ())
