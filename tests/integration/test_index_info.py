# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Findings about indexes against real servers: where published rules are wrong, and what is proposed instead."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.cover import needed
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.definitions import (
    drop_sql,
    read,
    undo_sql,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.limits import Limits
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.look import Request, look_at
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.pull import pull
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.session import Look

from .harness.cluster import Cluster
from .harness.installation import each_major, installations
from .harness.sandbox import Sandbox
from .harness.template import SUPERUSER

SCHEMA = Path(__file__).with_name("index_schema.sql")
#: Everything that pg_get_indexdef does not say of an index, and that it must come back with.
PROPERTIES = """
SELECT n.nspname, c.relname, pg_get_indexdef(c.oid), c.reloptions::text, ts.spcname, obj_description(c.oid, 'pg_class'),
    i.indisclustered, i.indisreplident, i.indisvalid, i.indisunique, c.relkind::text, p.inhparent::regclass::text,
    (SELECT array_agg(a.attstattarget::text || a.attname || coalesce(a.attoptions::text, '') ORDER BY a.attnum)::text
     FROM pg_attribute a WHERE a.attrelid = c.oid)
FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_tablespace ts ON ts.oid = c.reltablespace LEFT JOIN pg_inherits p ON p.inhrelid = c.oid
WHERE n.nspname NOT IN ('pg_catalog', 'pg_toast') ORDER BY 1, 2
"""
LIMITS = Limits(drop_bytes=0, partial_rows=100_000)


class Site:
    """A server with the schema, and looks at it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.directory = cluster.root / "report"
        cluster.add_tablespace("slow")
        cluster.sql("CREATE DATABASE shop")
        self.sql(SCHEMA.read_text())
        with pytest.raises(psycopg.errors.UniqueViolation):
            self.sql("CREATE UNIQUE INDEX CONCURRENTLY w9_a ON w9 (a)")
        self.sql("ANALYZE")

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.cluster.sql(statement, *values, database="shop")

    def look(self, **options: Any) -> dict[str, Any]:
        request = Request(
            **{
                "login": login(self.cluster),
                "state_directory": str(self.directory),
                "databases": ("shop",),
                "limits": LIMITS,
                **options,
            }
        )
        return json.loads(json.dumps(look_at(request)))  # type: ignore[no-any-return]


def login(cluster: Cluster) -> dict[str, Any]:
    return {
        "login_unix_socket": str(cluster.socket_directory),
        "login_port": cluster.port,
        "login_user": SUPERUSER,
        "login_db": "postgres",
    }


@pytest.fixture(scope="module", params=each_major(max(installations())))
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """One server a major for all tests that only look; at every run the newest, the others have ours elsewhere."""
    place = Sandbox()
    try:
        installation = installations()[request.param]
        yield Site(Cluster(place, installation=installation, archiving=False).start())
    finally:
        place.close()


@pytest.fixture(scope="module")
def seen(site: Site) -> dict[str, Any]:
    """What one look says."""
    return site.look()


def drops(result: dict[str, Any], *tables: str) -> dict[str, str]:
    """Index that is redundant -> what covers it, of some tables."""
    return {
        finding["object"]["name"]: finding["says"]["values"]["cover"].partition(".")[2]
        for finding in result["findings"]
        if finding["class"] in ("IX02", "IX03") and finding["object"]["table"] in tables
    }


def of_class(result: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    return {finding["object"]["name"]: finding for finding in result["findings"] if finding["class"] == name}


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        pytest.param("w1", {"w1_new": "w1_old"}, id="1-of-two-alike-one-stays"),
        pytest.param("w2", {"w2_a": "w2_ab"}, id="2-the-longer-one-stays"),
        pytest.param("w3", {}, id="3-column-1-is-no-prefix-of-column-12"),
        pytest.param("w4", {"w4_c": "w4_cd", "w4_5": "w4_56"}, id="4-the-richer-one-stays"),
        pytest.param("w5", {}, id="5-expressions-are-compared"),
        pytest.param("o1", {}, id="11-collation-and-operator-class-differ"),
        pytest.param("o2", {"o2_t2": "o2_t1"}, id="12-predicates-as-the-planner-compares-them"),
        pytest.param("o3", {"o3_a": "o3_pkey"}, id="13-a-unique-index-is-more-than-a-prefix"),
        pytest.param("o4", {"o4_second": "o4_first"}, id="14-what-a-foreign-key-refers-to-stays"),
        pytest.param("o5", {"o5_first": "o5_identity"}, id="15-the-replica-identity-stays"),
        pytest.param("o6", {"o6_a": "o6_ab"}, id="16-a-partitioned-index-as-a-whole"),
        pytest.param("o6_1", {"o6_1_local": "o6_1_a_b_idx"}, id="16-beside-a-part-of-it"),
        pytest.param("o7", {"o7_turned": "o7_ab"}, id="17-all-inverted-is-the-same"),
        pytest.param("o8", {"o8_brin_twin": "o8_brin_fine"}, id="18-other-access-methods"),
        pytest.param("o9", {"o9_ab": "o9_abc", "o9_a": "o9_abc"}, id="19-a-chain-has-one-end"),
        pytest.param("o10", {"o10_read": "o10_a_key"}, id="20-a-deferred-check-is-no-check-now"),
        pytest.param(
            "h1", {"h1_coarse": "h1_fine", "h1_other": "h1_longer"}, id="21-the-finer-statistics-stay"
        ),
        pytest.param("h2", {"h2_first": "h2_marked"}, id="22-what-the-table-is-clustered-on-stays"),
        pytest.param("h3_part", {}, id="23-what-a-join-is-removed-by-is-no-prefix"),
        pytest.param("h4", {}, id="24-an-implied-predicate-and-a-brin-are-no-cover"),
        pytest.param("h5", {"h5_first": "h5_second"}, id="25-the-identity-of-one-part-keeps-the-tree"),
        pytest.param("full_of", {"full_gone": "full_kept"}, id="included-columns-are-keys-there"),
    ],
)
def test_what_is_redundant_and_what_does_its_work(
    seen: dict[str, Any], table: str, expected: dict[str, str]
) -> None:
    found = drops(seen, table)
    if table == "o10":
        # Both indexes are read alike; the one that checks at once stays for its own sake.
        assert set(found) == set(expected)
        return
    assert found == expected


def test_6_the_column_is_meant_and_not_its_name(seen: dict[str, Any]) -> None:
    found = of_class(seen, "IX09")
    assert set(found) == {"w6_other_state"}
    assert found["w6_other_state"]["value"]["row_share"] == pytest.approx(0.99, abs=0.01)
    assert found["w6_other_state"]["grade"] == "heuristic"
    assert found["w6_other_state"]["missing"][0]["key"] == "no-query-asks"


def test_9_an_invalid_index_whatever_it_is_called(site: Site) -> None:
    site.look()
    finding = of_class(site.look(), "IX01")["w9_a"]
    assert (finding["severity"], finding["grade"]) == ("high", "measured")
    assert finding["says"]["key"] == "IX01_rebuild"
    assert finding["action"] == ['REINDEX INDEX CONCURRENTLY "public"."w9_a";']


def test_foreign_keys_by_what_their_checks_can_use(seen: dict[str, Any]) -> None:
    assert set(of_class(seen, "IX07")) == {"f3", "f4", "f6", "f7", "f8"}


def test_21_statistics_of_an_expression_are_a_reason_to_doubt(seen: dict[str, Any]) -> None:
    """They feed the planner though the index is never scanned."""
    lost = of_class(seen, "IX03")["h1_other"]
    assert (lost["grade"], lost["says"]["key"]) == ("heuristic", "IX03_statistics")
    kept = of_class(seen, "IX02")["h1_coarse"]
    assert (kept["grade"], kept["says"]["key"]) == ("measured", "IX02")


def test_23_a_unique_index_works_without_a_scan(site: Site, seen: dict[str, Any]) -> None:
    """By it a join is removed from the plan; no counter says so, and it is never called unused."""
    plan = site.sql("EXPLAIN SELECT w1.a FROM w1 LEFT JOIN h3_part ON h3_part.name = w1.a::text")
    assert not any("h3_part" in row[0] for row in plan)
    rows = {row["index"]: row["guard"] for row in seen["facts"]["databases"]["shop"]["unused"]}
    assert rows["h3_joined"] == "unique"
    assert not any(one["object"]["name"] == "h3_joined" and one["action"] for one in seen["findings"])


def test_names_are_text(seen: dict[str, Any], site: Site) -> None:
    name = "索引 ';DROP TABLE w1;--"
    finding = of_class(seen, "IX03")[name]
    assert finding["object"]["schema"] == "ス '1\\"
    before = site.sql(PROPERTIES)
    run(site, finding["action"])
    run(site, finding["undo"])
    assert site.sql(PROPERTIES) == before


def run(site: Site, statements: list[str]) -> None:
    with site.cluster.connect("shop") as connection:
        for statement in statements:
            connection.execute(statement.encode())


def test_every_action_is_undone_exactly(site: Site) -> None:
    """All drops at once, as a set, then every undo: each index as it was, in all that the catalogs know of it."""
    result = site.look()
    chosen = [finding for finding in result["findings"] if finding["class"] in ("IX02", "IX03")]
    assert len(chosen) >= 15
    before = site.sql(PROPERTIES)
    for finding in sorted(chosen, key=lambda one: one["order"]):
        run(site, finding["action"])
    after = {row[1] for row in site.sql(PROPERTIES)}
    assert not {finding["object"]["name"] for finding in chosen} & after
    assert set(of_class(site.look(), "IX07")) == set(of_class(result, "IX07")), "a foreign key lost its index"
    for finding in chosen:
        run(site, finding["undo"])
    assert site.sql(PROPERTIES) == before


def test_every_missing_index_is_built_and_undone(site: Site) -> None:
    result = site.look()
    before = site.sql(PROPERTIES)
    chosen = of_class(result, "IX07").values()
    for finding in chosen:
        run(site, finding["action"])
    assert of_class(site.look(), "IX07") == {}
    assert all(row[8] for row in site.sql(PROPERTIES) if row[1].startswith(("f7", "f3")))
    for finding in chosen:
        run(site, finding["undo"])
    assert site.sql(PROPERTIES) == before


@contextmanager
def locked(site: Site, table: str) -> Iterator[None]:
    with psycopg.connect(site.cluster.dsn("shop")) as connection:
        connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        yield


def test_what_is_locked_is_named_and_not_waited_for(site: Site, seen: dict[str, Any]) -> None:
    site.look()
    site.look()
    with locked(site, "w1"):
        result = site.look()
    told = {one["what"]: one["says"]["key"] for one in result["not_seen"]}
    assert told["public.w1 in database shop"] == "locked"
    assert drops(result, "w1") == {}
    assert drops(result, "w2") == {"w2_a": "w2_ab"}
    assert result["cost"]["seconds"] < 120
    assert result["changed"] is False, "what was not seen is not gone"
    again = site.look()
    assert again["changed"] is False
    assert next(one for one in again["findings"] if one["object"]["name"] == "w1_new")["state"] == "known"


def test_a_second_look_changes_nothing_and_check_mode_stores_nothing(site: Site) -> None:
    site.look()
    file = Path(site.look()["baseline"]["file"])
    before = file.read_bytes()
    checked = site.look(check=True)
    assert (checked["changed"], checked["baseline"]["stored"]) == (False, False)
    assert file.read_bytes() == before
    assert file.stat().st_mode & 0o777 == 0o600
    again = site.look()
    assert again["changed"] is False
    assert {finding["state"] for finding in again["findings"]} == {"known"}


def test_ids_are_of_names(site: Site) -> None:
    """A rebuilt index is the same finding; its oid is another one."""
    site.sql("CREATE TABLE ids (a int); CREATE INDEX ids_1 ON ids (a); CREATE INDEX ids_2 ON ids (a)")
    before = of_class(site.look(), "IX02")["ids_2"]["id"]
    site.sql("REINDEX INDEX CONCURRENTLY ids_2")
    site.sql("REINDEX TABLE CONCURRENTLY w1")
    assert of_class(site.look(), "IX02")["ids_2"]["id"] == before
    site.sql("DROP TABLE ids")


def test_bloat_is_measured_and_damage_found_by_reading_whole_indexes(site: Site) -> None:
    """A thousand full pages, nine tenths of their entries gone; and an index that says its order is another one."""
    for statement in (
        "CREATE EXTENSION pgstattuple",
        "CREATE EXTENSION amcheck",
        "CREATE TABLE thin (a int, pad text) WITH (autovacuum_enabled = off)",
        "INSERT INTO thin SELECT g, repeat('x', 20) FROM generate_series(1, 150000) g",
        "CREATE INDEX thin_a ON thin (a, pad)",
        "DELETE FROM thin WHERE a % 10 <> 0",
        "VACUUM ANALYZE thin",
        "CREATE TABLE turned (a int)",
        "INSERT INTO turned SELECT g FROM generate_series(1, 1000) g",
        "CREATE INDEX turned_a ON turned (a)",
        "UPDATE pg_index SET indoption = '3' WHERE indexrelid = 'turned_a'::regclass",
    ):
        site.sql(statement)
    limits = Limits(drop_bytes=0, bloat_bytes=1 << 20)
    try:
        estimated = of_class(site.look(limits=limits, check=True), "IX06")["thin_a"]
        assert (estimated["grade"], estimated["missing"][0]["key"]) == ("heuristic", "exact-bloat")
        result = site.look(limits=limits, check=True, read_whole=True)
        found = of_class(result, "IX06")["thin_a"]
        assert (found["grade"], found["missing"]) == ("measured", [])
        assert 0.8 < found["value"]["bloat_share"] < 0.95
        assert found["action"] == ['REINDEX INDEX CONCURRENTLY "public"."thin_a";']
        broken = of_class(result, "IX15")
        assert set(broken) == {"turned_a"}
        assert (broken["turned_a"]["severity"], broken["turned_a"]["grade"]) == ("critical", "measured")
        size = "SELECT pg_relation_size('thin_a')"
        before = site.sql(size)[0][0]
        run(site, found["action"])
        after = site.sql(size)[0][0]
        assert before - after == pytest.approx(found["value"]["wasted_bytes"], rel=0.1)
    finally:
        site.sql("DROP TABLE thin, turned")
        site.sql("DROP EXTENSION pgstattuple")
        site.sql("DROP EXTENSION amcheck")


def test_marks_that_only_guarded_indexes_have_come_back_as_well(site: Site) -> None:
    """Clustered, the replica identity, and an extension that it depends on: never proposed, and yet undone exactly."""
    for statement in (
        "CREATE TABLE marked (a int NOT NULL, b int)",
        "CREATE UNIQUE INDEX marked_identity ON marked (a)",
        "ALTER TABLE marked REPLICA IDENTITY USING INDEX marked_identity",
        "CREATE INDEX marked_clustered ON marked (b)",
        "ALTER TABLE marked CLUSTER ON marked_clustered",
        "ALTER INDEX marked_clustered DEPENDS ON EXTENSION plpgsql",
    ):
        site.sql(statement)
    depends = "SELECT count(*) FROM pg_depend WHERE objid = 'marked_clustered'::regclass AND deptype = 'x'"
    try:
        before = site.sql(PROPERTIES)
        look = Look(login(site.cluster))
        with look.database("shop"):
            facts = pull(look, look.node(), "shop")
            assert facts is not None
            chosen = [index for index in facts.indexes if index.name.startswith("marked")]
            definitions = read(look, [index.oid for index in chosen])
        assert {needed(facts)[index.oid] for index in chosen} == {"identity", "clustered"}
        for index in chosen:
            run(site, drop_sql(index))
        for index in chosen:
            run(site, undo_sql(facts, index, definitions) or [])
        assert site.sql(PROPERTIES) == before
        assert site.sql(depends) == [(1,)]
    finally:
        site.sql("DROP TABLE marked")
