# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Indexes that are needed or made in ways that counters and names do not show: by partitions, by logical replication's
apply, by constraint triggers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.creating import (
    LIMITED,
    UNLIMITED,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.fleet import across
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.limits import Limits
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.look import Request, look_at
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.words import say

from .harness.cluster import Cluster
from .harness.installation import each_major, installations
from .harness.sandbox import Sandbox
from .harness.waiting import wait_for
from .test_index_info import PROPERTIES, login

#: A tree of two levels; what is missing of "ev_b": on one part nothing, on one the index is there and is not attached,
#: on one it is attached and invalid, below one there is nothing at all.
INCOMPLETE = """
CREATE TABLE ev (at int NOT NULL, b int, "c d" text) PARTITION BY RANGE (at);
CREATE TABLE ev_0 PARTITION OF ev FOR VALUES FROM (0) TO (10);
CREATE TABLE ev_1 (b int, gone int, at int NOT NULL, "c d" text);
ALTER TABLE ev_1 DROP COLUMN gone;
ALTER TABLE ev ATTACH PARTITION ev_1 FOR VALUES FROM (10) TO (20);
CREATE TABLE ev_2 PARTITION OF ev FOR VALUES FROM (20) TO (30);
CREATE TABLE "ev 3" PARTITION OF ev FOR VALUES FROM (30) TO (40) PARTITION BY LIST (b);
CREATE TABLE "ev 3 x" PARTITION OF "ev 3" FOR VALUES IN (1);
CREATE TABLE ev_4 PARTITION OF ev FOR VALUES FROM (40) TO (50);
INSERT INTO ev SELECT g, 1, 'x' FROM generate_series(0, 49) g;
CREATE INDEX ev_b ON ONLY ev (b, "c d" DESC) WITH (fillfactor = 70);
CREATE INDEX ev_1_there ON ev_1 (b, "c d" DESC);
CREATE INDEX ev_2_broken ON ev_2 (b, "c d" DESC) WITH (fillfactor = 70);
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ev_2_broken'::regclass;
ALTER INDEX ev_b ATTACH PARTITION ev_2_broken;
CREATE INDEX ev_4_whole ON ev_4 (b, "c d" DESC) WITH (fillfactor = 70);
ALTER INDEX ev_b ATTACH PARTITION ev_4_whole;
CREATE INDEX ev_long ON ev (at, b);
CREATE INDEX ev_short ON ev (at);
COMMENT ON INDEX ev_short IS 'short';
"""
LIMITS = Limits(drop_bytes=0)


class Site:
    """A server, and looks at its database."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        for name in ("shop", "copy", "sparse"):
            cluster.sql(f"CREATE DATABASE {name}")

    def sql(self, statement: str, database: str = "shop") -> list[tuple[Any, ...]]:
        return self.cluster.sql(statement, database=database)

    def look(self, database: str = "shop") -> dict[str, Any]:
        place = str(self.cluster.root / "report")
        request = Request(login(self.cluster), place, (database,), LIMITS)
        return json.loads(json.dumps(look_at(request)))  # type: ignore[no-any-return]

    def found(self, name: str, key: str) -> dict[str, Any]:
        (finding,) = [
            one
            for one in self.look()["findings"]
            if one["object"]["name"] == name and one["says"]["key"].startswith(key)
        ]
        return dict(finding)

    def run(self, statements: list[str]) -> None:
        """As somebody does who pastes them: in one session, one after the other."""
        with self.cluster.connect("shop") as connection:
            for statement in statements:
                connection.execute(statement.encode())


@pytest.fixture(scope="module", params=each_major(max(installations())))
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    place = Sandbox()
    try:
        settings = {
            "wal_level": "logical",
            "allow_system_table_mods": "on",
            "shared_preload_libraries": "pg_stat_statements",
        }
        installation = installations()[request.param]
        yield Site(Cluster(place, installation=installation, archiving=False, settings=settings).start())
    finally:
        place.close()


@pytest.fixture(scope="module")
def tree(site: Site) -> Site:
    site.sql(INCOMPLETE)
    site.sql("ANALYZE")
    return site


def test_an_incomplete_partitioned_index_is_made_whole_and_unmade_exactly(tree: Site) -> None:
    first = tree.found("ev_b", "IX01")
    assert (first["grade"], first["action"]) == ("insufficient", [])
    finding = tree.found("ev_b", "IX01")
    assert (finding["says"]["key"], finding["grade"], finding["missing"]) == (
        "IX01_partitioned", "measured", [],
    )  # fmt: skip
    rest = 'USING btree (b, "c d" DESC)'
    # What is there and is the same but for how full its pages are does the same work.
    assert finding["action"] == [
        LIMITED,
        'CREATE INDEX "ev 3_b_c d_idx" ON ONLY "public"."ev 3" ' + rest + " WITH (fillfactor='70');",
        UNLIMITED,
        'CREATE INDEX CONCURRENTLY "ev 3 x_b_c d_idx" ON "public"."ev 3 x" '
        + rest
        + " WITH (fillfactor='70');",
        LIMITED,
        'ALTER INDEX "public"."ev 3_b_c d_idx" ATTACH PARTITION "public"."ev 3 x_b_c d_idx";',
        'ALTER INDEX "public"."ev_b" ATTACH PARTITION "public"."ev 3_b_c d_idx";',
        UNLIMITED,
        'CREATE INDEX CONCURRENTLY "ev_0_b_c d_idx" ON "public"."ev_0" ' + rest + " WITH (fillfactor='70');",
        LIMITED,
        'ALTER INDEX "public"."ev_b" ATTACH PARTITION "public"."ev_0_b_c d_idx";',
        'ALTER INDEX "public"."ev_b" ATTACH PARTITION "public"."ev_1_there";',
        UNLIMITED,
        'REINDEX INDEX CONCURRENTLY "public"."ev_2_broken";',
        LIMITED,
        'ALTER INDEX "public"."ev_b" ATTACH PARTITION "public"."ev_2_broken";',
        UNLIMITED,
    ]
    before = tree.sql(PROPERTIES)
    tree.run(finding["action"])
    whole = "SELECT count(*) FILTER (WHERE NOT indisvalid) FROM pg_index WHERE indexrelid::regclass::text ~ '^\"?ev'"
    assert tree.sql(whole) == [(0,)]
    assert not [one for one in tree.look()["findings"] if one["class"] == "IX01"]
    # Whole, and nobody has looked since: the server is made to look.
    tree.sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ev_b'::regclass")
    tree.look()
    again = tree.found("ev_b", "IX01")
    assert len(again["action"]) == 3
    tree.run(again["action"])
    assert tree.sql(whole) == [(0,)]
    tree.run(finding["undo"])
    after = tree.sql(PROPERTIES)
    # Even the part that was broken is valid now, and nothing else is another one.
    validity = [row[1] for row, now in zip(before, after) if row[8] != now[8]]
    assert validity == ["ev_2_broken"]
    assert [row[:8] + row[9:] for row in before] == [row[:8] + row[9:] for row in after]


def test_a_partitioned_index_is_never_said_to_go_concurrently(tree: Site) -> None:
    """And whoever does what is said does not let all others wait behind a query of one partition."""
    finding = tree.found("ev_short", "IX03")
    assert finding["says"]["key"] == "IX03_partitioned"
    assert finding["action"] == [LIMITED, 'DROP INDEX "public"."ev_short";', UNLIMITED]
    for language, word in (("en", "Drop it concurrently"), ("ja", "CONCURRENTLY を付けて削除してください")):
        told = say.finding(finding["says"]["key"], finding["says"]["values"], language)
        assert word not in told["remedy"] and "lock_timeout" in told["remedy"]
        assert "public.ev_long" in told["remedy"]
    before = tree.sql(PROPERTIES)
    with psycopg.connect(tree.cluster.dsn("shop")) as reader:
        reader.execute("SELECT count(*) FROM ev_1")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            tree.run(finding["action"])
        assert tree.sql("SELECT count(*) FROM ev") == [(50,)]
    assert tree.sql(PROPERTIES) == before
    tree.run(finding["action"])
    assert not [row for row in tree.sql(PROPERTIES) if row[1] == "ev_short"]
    tree.run(finding["undo"])
    assert tree.sql(PROPERTIES) == before
    concurrent = [one for one in finding["undo"] if "CONCURRENTLY" in one]
    assert len(concurrent) == 5, "each part is built without blocking writes"


APPLIED = """
CREATE TABLE full_of (a int, b text);
CREATE INDEX full_of_a ON full_of (a);
CREATE TABLE by_index (a int NOT NULL, b text);
CREATE UNIQUE INDEX by_index_twin ON by_index (a);
CREATE UNIQUE INDEX by_index_a ON by_index (a);
ALTER TABLE full_of REPLICA IDENTITY FULL;
ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_a;
"""


def test_what_logical_replication_finds_rows_by_stays(site: Site) -> None:
    """On the subscriber: the identity is guarded; an index that apply chooses by itself (from 16 on) is scanned."""
    for database in ("shop", "copy"):
        site.sql(APPLIED, database)
    site.sql("INSERT INTO full_of SELECT g, g::text FROM generate_series(1, 2000) g")
    site.sql("INSERT INTO by_index SELECT g, g::text FROM generate_series(1, 2000) g")
    site.sql("CREATE PUBLICATION moved FOR TABLE full_of, by_index")
    site.sql("SELECT pg_create_logical_replication_slot('moved', 'pgoutput')")
    where = f"host={site.cluster.socket_directory} port={site.cluster.port} user=postgres dbname=shop"
    site.sql(
        f"CREATE SUBSCRIPTION moved CONNECTION '{where}' PUBLICATION moved WITH (create_slot = false)", "copy"
    )
    try:
        there = "SELECT (SELECT count(*) FROM full_of) + (SELECT count(*) FROM by_index)"
        wait_for(lambda: site.sql(there, "copy") == [(4000,)], "the copies of the tables")
        ready = "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate = 'r'"
        wait_for(lambda: site.sql(ready, "copy") == [(2,)], "the end of the copying")
        site.sql("ANALYZE", "copy")
        site.look("copy")
        for table in ("full_of", "by_index"):
            site.sql(f"UPDATE {table} SET b = 'new' WHERE a IN (5, 6, 7)")
        moved = "SELECT count(*) FROM (TABLE full_of UNION ALL TABLE by_index) x WHERE b = 'new'"
        wait_for(lambda: site.sql(moved, "copy") == [(6,)], "the changes")
        # A worker of 14 tells what it counted when it ends.
        site.sql("ALTER SUBSCRIPTION moved DISABLE", "copy")
        scans = "SELECT sum(idx_scan) FROM pg_stat_user_indexes WHERE relname = 'by_index'"
        wait_for(lambda: int(site.sql(scans, "copy")[0][0]) >= 3, "the scans of apply")
        chosen = site.cluster.installation.major >= 16
        alone = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'full_of_a'"
        wait_for(lambda: int(site.sql(alone, "copy")[0][0]) >= 3 * chosen, "the scans by the other index")
        result = site.look("copy")
    finally:
        site.sql("DROP SUBSCRIPTION moved", "copy")
    rows = result["facts"]["databases"]["copy"]["unused"]
    short = Limits(unused_seconds=max(row["until"] - row["since"] for row in rows) - 1e-3, drop_bytes=0)
    unused = {one.thing["name"]: one for one in across([result], limits=short)}
    assert ("full_of_a" in {name for name, one in unused.items() if one.action}) == (not chosen)
    assert "by_index_a" not in unused
    (twin,) = [one for one in result["findings"] if one["class"] == "IX02"]
    assert twin["object"]["name"] == "by_index_twin" and "by_index_a" in twin["says"]["values"]["cover"]


TRIGGERED = """
CREATE TABLE part (id int PRIMARY KEY, owner int);
CREATE INDEX part_owner ON part (owner);
CREATE INDEX part_nobody ON part (id DESC, owner);
CREATE TABLE owner (id int PRIMARY KEY);
INSERT INTO owner SELECT g FROM generate_series(1, 500) g;
INSERT INTO part SELECT g, g % 9000 + 1 FROM generate_series(1, 20000) g;
CREATE FUNCTION held() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM public.part WHERE owner = OLD.id LIMIT 1;
    IF FOUND THEN RAISE EXCEPTION 'held' USING ERRCODE = 'foreign_key_violation'; END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER held AFTER DELETE ON owner FROM part DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION held();
"""


def test_a_constraint_trigger_is_no_foreign_key_and_its_index_is_in_use(site: Site) -> None:
    """The catalogs have it among the constraints, without columns; only the counters tell what it reads."""
    site.sql(TRIGGERED)
    site.sql("VACUUM ANALYZE part, owner")
    site.look()
    for _round in range(3):
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            site.sql("DELETE FROM owner WHERE id = 7")
    used = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'part_owner'"
    wait_for(lambda: int(site.sql(used)[0][0]) >= 3, "the scans of the trigger")
    result = site.look()
    about = [one for one in result["findings"] if one["object"].get("name") in ("part", "owner")]
    assert not [one for one in about if one["class"] == "IX07"]
    rows = result["facts"]["databases"]["shop"]["unused"]
    (row,) = [one for one in rows if one["index"] == "part_nobody"]
    short = Limits(unused_seconds=row["until"] - row["since"] - 1e-3, drop_bytes=0)
    unused = {one.thing["name"] for one in across([result], limits=short) if one.action}
    assert "part_owner" not in unused
    assert "part_nobody" in unused


SPARSE = """
CREATE EXTENSION pg_stat_statements;
CREATE TABLE claim (id int, closed_by int, "C 1" text, state text);
INSERT INTO claim SELECT g, CASE WHEN g % 50 = 0 THEN g END, CASE WHEN g % 60 = 0 THEN g::text END,
    CASE WHEN g % 40 = 0 THEN g::text ELSE 'done' END FROM generate_series(1, 110000) g;
CREATE INDEX claim_closed ON claim (closed_by, id) WITH (fillfactor = 80);
CREATE INDEX "claim C" ON claim ("C 1");
CREATE INDEX claim_state ON claim (state);
COMMENT ON INDEX claim_closed IS 'who closed it';
"""


def test_nobody_or_somebody_asks_for_what_most_entries_are(site: Site) -> None:
    """IX09: statements tell of nulls, as those are written out; of a value they cannot."""

    def looked() -> dict[str, dict[str, Any]]:
        findings = site.look("sparse")["findings"]
        return {one["object"]["name"]: one for one in findings if one["class"] == "IX09"}

    for statement in SPARSE.strip().split(";\n"):
        site.sql(statement, "sparse")
    site.sql("VACUUM ANALYZE claim", "sparse")
    site.sql("SELECT pg_stat_statements_reset()", "sparse")
    assert {one["missing"][0]["key"] for one in looked().values()} == {"no-query-asks"}
    for _round in range(3):
        site.sql("SELECT id FROM claim WHERE closed_by = 50 AND closed_by IS NOT NULL", "sparse")
        site.sql("""SELECT id FROM claim WHERE "C 1" = '60'""", "sparse")
        site.sql("SELECT count(*) FROM claim WHERE state = 'done'", "sparse")
    site.sql("""SELECT id FROM claim WHERE "C 1" IS NULL LIMIT 1""", "sparse")
    found = looked()
    free, asked, common = (found[name] for name in ("claim_closed", "claim C", "claim_state"))
    assert (free["says"]["key"], free["grade"], free["missing"]) == ("IX09_nulls_free", "heuristic", [])
    assert free["says"]["values"]["calls"] == 3
    assert free["action"][0].startswith(
        'CREATE INDEX CONCURRENTLY "claim_closed_by_not_null_idx" ON public.claim'
    )
    assert free["action"][1:] == ['DROP INDEX CONCURRENTLY "public"."claim_closed";']
    assert asked["says"]["key"] == "IX09_nulls_asked" and asked["says"]["values"]["calls"] == 1
    assert common["says"]["key"] == "IX09_common_asked" and common["says"]["values"]["calls"] == 3
    for one in (asked, common):
        assert (one["action"], one["missing"][0]["key"]) == ([], "no-query-asks")
        assert "done" not in json.dumps(one["value"])
    before = site.sql(PROPERTIES, "sparse")
    size = int(site.sql("SELECT pg_relation_size('claim_closed')", "sparse")[0][0])
    with site.cluster.connect("sparse") as connection:
        for statement in free["action"]:
            connection.execute(statement.encode())
        plan = connection.execute(b"EXPLAIN SELECT id FROM claim WHERE closed_by = 50").fetchall()
        assert "claim_closed_by_not_null_idx" in str(plan)
        smaller = connection.execute(b"SELECT pg_relation_size('claim_closed_by_not_null_idx')").fetchall()
        saved = free["says"]["values"]["saved_bytes"]
        assert size - int(smaller[0][0]) == pytest.approx(saved, rel=0.1)
        for statement in free["undo"]:
            connection.execute(statement.encode())
    assert site.sql(PROPERTIES, "sparse") == before
