# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Indexes that are missing: from plans of real statements, tried hypothetically, or built on a copy."""

from __future__ import annotations

import json
import multiprocessing
import signal
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery.scratch import scratch
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.look import Request, look_at
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.words.say import finding as say

from .harness.cluster import Cluster
from .harness.installation import each_major, installations
from .harness.sandbox import Sandbox
from .harness.template import SUPERUSER

#: Debian has hypopg for its own major; the others are tried without.
HYPOPG = 15
STATEMENTS = (
    ("SELECT * FROM sales WHERE customer = %s", 40),
    ('SELECT count(*) FROM "日 報" WHERE "列 1" = %s AND day >= %s', 5),
    ("SELECT * FROM sales WHERE lower(note) = %s", 3),
    ("SELECT sum(a) FROM ordered WHERE b = %s", 3),
    ("UPDATE sales SET note = 'y' WHERE customer = %s", 2),
)


class Shop:
    """A server with statements that read whole tables."""

    def __init__(self, place: Sandbox) -> None:
        self.cluster = Cluster(
            place,
            installation=installations()[HYPOPG],
            archiving=False,
            settings={"shared_preload_libraries": "pg_stat_statements"},
        )
        self.cluster.start()
        for statement in (
            "CREATE EXTENSION pg_stat_statements",
            "CREATE EXTENSION hypopg",
            "CREATE TABLE sales (id int PRIMARY KEY, customer int, note text)",
            "INSERT INTO sales SELECT g, g %% 4000, md5(g::text) FROM generate_series(1, 40000) g",
            'CREATE TABLE "日 報" ("列 1" int, day date)',
            "INSERT INTO \"日 報\" SELECT g %% 500, '2026-01-01'::date + g %% 300 FROM generate_series(1, 30000) g",
            "CREATE TABLE ordered (a int, b int)",
            "INSERT INTO ordered SELECT g %% 7, g FROM generate_series(1, 20000) g",
            "CREATE INDEX ordered_ab ON ordered (a, b)",
            "VACUUM ANALYZE",
            "SELECT pg_stat_statements_reset()",
        ):
            self.cluster.sql(statement.replace("%%", "%"))
        with self.cluster.connect() as connection:
            for statement, calls in STATEMENTS:
                values = [str(7)] if "lower" in statement else [7] * statement.count("%s")
                if "day" in statement:
                    values = [7, "2026-03-01"]
                for _call in range(calls):
                    connection.execute(statement.encode(), values)

    def look(self, mode: str, **options: Any) -> dict[str, Any]:
        login = {
            "login_unix_socket": str(self.cluster.socket_directory),
            "login_port": self.cluster.port,
            "login_user": SUPERUSER,
            "login_db": "postgres",
        }
        request = Request(
            login,
            str(self.cluster.root / "report"),
            ("postgres",),
            **{"missing": mode, "check": True, **options},
        )
        return json.loads(json.dumps(look_at(request)))  # type: ignore[no-any-return]

    def indexes(self) -> list[tuple[Any, ...]]:
        return self.cluster.sql(
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
        )


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    place = Sandbox()
    try:
        yield Shop(place)
    finally:
        place.close()


def of(result: dict[str, Any], name: str) -> dict[tuple[str, ...], dict[str, Any]]:
    return {
        (one["object"]["name"], *one["object"].get("columns", ())): one
        for one in result["findings"]
        if one["class"] == name
    }


def test_nothing_is_planned_unless_it_is_asked_for(shop: Shop) -> None:
    assert of(shop.look("none"), "IX08") == {}


def test_plans_alone_prove_nothing(shop: Shop) -> None:
    found = of(shop.look("plans"), "IX08")
    assert {name for name, *_columns in found} == {"sales", "日 報", "ordered"}
    assert {("sales", "customer"), ("ordered", "b")} <= set(found)
    assert {one["grade"] for one in found.values()} == {"heuristic"}
    assert all(one["missing"][0]["key"] == "proof-of-plan" for one in found.values())
    assert ("sales", "note") not in found, "an index on note does not answer lower(note) = ..."


def test_hypothetical_indexes_validate_and_leave_nothing(shop: Shop) -> None:
    before = shop.indexes()
    result = shop.look("hypopg")
    assert shop.indexes() == before
    found = of(result, "IX08")[("sales", "customer")]
    assert (found["grade"], found["severity"]) == ("validated", "high")
    assert found["value"]["cost_after"] < found["value"]["cost_before"] / 10
    assert found["impact"]["load_share"] > 0.1 and found["value"]["write_bytes_per_row"] > 0
    # The statement that changes rows is cheaper as well, and none is dearer.
    assert len(found["value"]["better"]) == 2 and found["value"]["worse"] == []
    assert {one["object"]["name"] for one in result["findings"] if one["class"] == "IX08"} >= {
        "sales",
        "日 報",
    }


def test_what_was_promised_comes_true_and_is_undone(shop: Shop) -> None:
    """The action is done: the server uses the index, and the finding is gone."""
    before = shop.indexes()
    found = of(shop.look("hypopg"), "IX08")[("sales", "customer")]
    with shop.cluster.connect() as connection:
        for statement in found["action"]:
            connection.execute(statement.encode())
        plan = connection.execute(b"EXPLAIN SELECT * FROM sales WHERE customer = 7").fetchall()
        assert any("sales_customer_idx" in row[0] for row in plan)
        assert ("sales", "customer") not in of(shop.look("hypopg"), "IX08")
        for statement in found["undo"]:
            connection.execute(statement.encode())
    assert shop.indexes() == before


def test_building_is_for_copies_only(shop: Shop) -> None:
    before = shop.indexes()
    with pytest.raises(Refused) as caught:
        shop.look("build")
    assert caught.value.code == "not-a-copy"
    found = of(shop.look("build", is_copy=True), "IX08")[("sales", "customer")]
    assert found["grade"] == "measured"
    assert shop.indexes() == before


def test_what_may_do_anything_is_not_run(shop: Shop) -> None:
    """A statement of the workload resets statistics: it is planned, and never run, not even on a copy."""
    before = shop.cluster.value("SELECT stats_reset::text FROM pg_stat_statements_info")
    for name in ("reset_now", "Reset; now"):
        quoted = '"' + name + '"'
        shop.cluster.sql(
            f"CREATE FUNCTION {quoted}() RETURNS int LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_stat_statements_reset(); RETURN 1; END $$"
        )
    shop.cluster.sql('CREATE VIEW hidden AS SELECT "Reset; now"() AS one')
    ours = "SELECT queryid FROM pg_stat_statements WHERE query LIKE 'SELECT%hidden%' OR query LIKE 'SELECT reset_now%'"
    with shop.cluster.connect() as connection:
        connection.execute(b"SELECT one FROM hidden WHERE false")
        connection.execute(b"SELECT reset_now() FROM sales WHERE false")
    assert len(shop.cluster.sql(ours)) >= 2
    shop.look("build", is_copy=True)
    assert shop.cluster.value("SELECT stats_reset::text FROM pg_stat_statements_info") == before


def test_a_column_order_that_no_statement_fits(shop: Shop) -> None:
    found = of(shop.look("plans"), "IX10")[("ordered_ab",)]
    assert found["says"]["values"] | {"column": "a", "later": ["b"]} == found["says"]["values"]


def test_7_three_thousand_columns_are_no_reason_to_fail(shop: Shop) -> None:
    """Candidates come from what statements look at, not from every column that there is."""
    for number in range(4):
        columns = ", ".join(f"c{place} int" for place in range(800))
        shop.cluster.sql(f"CREATE TABLE wide_{number} ({columns})")
    try:
        result = shop.look("hypopg")
        assert ("sales", "customer") in of(result, "IX08"), result["not_seen"]
        assert result["cost"]["seconds"] < 60
    finally:
        for number in range(4):
            shop.cluster.sql(f"DROP TABLE wide_{number}")


def test_without_hypopg_it_is_said(shop: Shop) -> None:
    shop.cluster.sql("DROP EXTENSION hypopg")
    try:
        result = shop.look("hypopg")
        assert {one["what"]: one["says"]["key"] for one in result["not_seen"]}["hypopg"] == "absent"
        assert {one["grade"] for one in of(result, "IX08").values()} == {"heuristic"}
    finally:
        shop.cluster.sql("CREATE EXTENSION hypopg")


#: What writes, and what may not be done even on a copy: it would reach out, or do more than its own text.
WRITES = (
    "INSERT INTO sales VALUES (%s, %s, %s, %s)",
    "UPDATE sales SET note = %s WHERE customer = %s",
    "UPDATE sales SET customer = %s WHERE id = %s",
    "DELETE FROM sales WHERE customer = %s",
    "INSERT INTO parted VALUES (%s, %s)",
)
_ROW: dict[str, tuple[Any, ...]] = {
    WRITES[0]: (900_000, 7, 1, "new"),
    WRITES[1]: ("note", 8),
    WRITES[2]: (9, 77),
    WRITES[3]: (10,),
    WRITES[4]: (1, 2),
}


@pytest.mark.parametrize("major", each_major(HYPOPG))
def test_by_default_it_is_proven_on_a_restored_copy(major: int, sandbox: Sandbox) -> None:
    """The live server plans nothing and builds nothing: the newest backup is restored for it, and gone afterwards."""
    cluster = Cluster(
        sandbox,
        installation=installations()[major],
        settings={"shared_preload_libraries": "pg_stat_statements", "random_page_cost": "1.1"},
    ).start()
    told = cluster.root / "fired"
    for statement in (
        "CREATE EXTENSION pg_stat_statements",
        "CREATE EXTENSION file_fdw",
        "CREATE TABLE sales (id int PRIMARY KEY, customer int, day int, note text)",
        # Half of all rows are of customer 1; an index is of use for the others only.
        "INSERT INTO sales SELECT g, CASE WHEN g % 2 = 0 THEN 1 ELSE g % 4000 + 2 END, g / 50, md5(g::text) "
        "FROM generate_series(1, 30000) g",
        "CREATE TABLE parted (customer int, part int) PARTITION BY LIST (part)",
        "CREATE TABLE near PARTITION OF parted FOR VALUES IN (2)",
        "INSERT INTO parted SELECT g, 2 FROM generate_series(1, 20000) g",
        "CREATE SERVER files FOREIGN DATA WRAPPER file_fdw",
        f"CREATE FOREIGN TABLE far PARTITION OF parted FOR VALUES IN (1) SERVER files "
        f"OPTIONS (program 'echo read >> {told}')",
        "CREATE FUNCTION fired() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN COPY (SELECT 1) TO PROGRAM 'cat >> {told}'; RETURN NULL; END $$",
        "CREATE TRIGGER fired AFTER INSERT OR UPDATE OR DELETE ON sales EXECUTE FUNCTION fired()",
        "VACUUM ANALYZE",
    ):
        cluster.sql(statement)
    with cluster.connect() as connection:
        for _call in range(5):
            connection.execute(b"SELECT sum(id) FROM sales WHERE customer = %s", [7])
            connection.execute(b"SELECT id FROM sales WHERE day >= %s AND day < %s LIMIT %s", [3, 5, 20])
            connection.execute(b"SELECT count(*) FROM parted WHERE customer = %s AND part = %s", [3, 2])
        for statement in WRITES:
            connection.execute(statement.encode(), _ROW[statement])
    cluster.keeper("backup").expect(0)
    told.write_text("")
    config = ClusterConfig.load(str(cluster.config_path))
    login = {
        "login_unix_socket": str(cluster.socket_directory),
        "login_port": cluster.port,
        "login_user": SUPERUSER,
        "login_db": "postgres",
    }
    request = Request(login, str(cluster.root / "report"), ("postgres",), missing="copy", config=config)
    with cluster.unchanged():
        result = json.loads(json.dumps(look_at(request)))
    assert not [one for one in result["not_seen"] if one["what"] == "restored copy"]
    found = of(result, "IX08")[("sales", "customer")]
    assert found["grade"] == "measured"
    texts = dict(cluster.sql("SELECT queryid::text, query FROM pg_stat_statements"))
    better = {texts[one["queryid"]].split()[0]: one["runs"] for one in found["value"]["better"]}
    assert set(better) == {"SELECT", "UPDATE", "DELETE"}
    assert set(better["SELECT"]) == {"common", "rare", "low", "high"}
    rare = better["SELECT"]["rare"]
    assert rare["blocks_after"] < rare["blocks_before"] / 10 and "rows" not in rare
    # For the customer of half of all rows nothing is gained, and none is told that there is.
    assert better["SELECT"]["common"]["blocks_after"] >= better["SELECT"]["common"]["blocks_before"] * 0.9
    assert "4711" not in json.dumps(found["value"]), "values of columns are told to nobody"
    _what_writing_costs(found, texts)
    # Nothing fired, and nothing was asked of what the foreign table stands for, by reading or by writing.
    assert told.read_text() == ""
    for (table, *_columns), one in of(result, "IX08").items():
        if table in ("parted", "near"):
            assert not [about["runs"] for about in one["value"]["better"] if about["runs"]]
    left = [path.name for path in cluster.parent.iterdir() if path.name != "data"]
    assert left == [] and not (cluster.state_directory / "scratch.json").exists()
    assert list((cluster.repository / cluster.name / "leases").glob("*.json")) == []


def _what_writing_costs(found: dict[str, Any], texts: dict[str, str]) -> None:
    """Each writing statement was run; an index costs an INSERT an entry, and an UPDATE of its column, which was HOT,
    all of them."""
    written = {texts[one["queryid"]]: one["runs"] for one in found["value"]["writes"]}
    kinds = {text.split(" WHERE")[0].split(" VALUES")[0]: runs for text, runs in written.items()}
    assert set(kinds) == {
        "INSERT INTO sales",
        "UPDATE sales SET note = $1",
        "UPDATE sales SET customer = $1",
        "DELETE FROM sales",
    }
    insert = kinds["INSERT INTO sales"]["common"]
    assert insert["rows"] == 1
    # An entry of an index of a four-byte column, with what a record of WAL has around it: 64 bytes.
    assert 40 <= insert["wal_bytes_after"] - insert["wal_bytes_before"] <= 200
    for run in kinds["UPDATE sales SET customer = $1"].values():
        assert run["rows"] == 1 and run["wal_bytes_after"] > run["wal_bytes_before"]
    for run in kinds["DELETE FROM sales"].values():
        assert run["wal_bytes_after"] == pytest.approx(run["wal_bytes_before"], rel=0.1)
    # Half of all rows are more than is changed for this.
    assert "common" not in kinds["DELETE FROM sales"]
    assert found["value"]["row_wal_bytes_after"] > found["value"]["row_wal_bytes_before"] > 0
    assert found["says"]["key"] == "IX08_written"
    for language in ("en", "ja"):
        assert "WAL" in say(found["says"]["key"], found["says"]["values"], language)["why"]


@pytest.mark.matrix
def test_what_pg_qualstats_saw_is_a_sample(sandbox: Sandbox) -> None:
    """Tried like any other where a statement is known; of what only the extension saw no more is claimed than that."""
    cluster = Cluster(
        sandbox,
        installation=installations()[HYPOPG],
        archiving=False,
        settings={
            "shared_preload_libraries": "pg_stat_statements, pg_qualstats",
            "pg_qualstats.sample_rate": "1",
        },
    ).start()
    for statement in (
        "CREATE EXTENSION pg_stat_statements",
        "CREATE EXTENSION hypopg",
        "CREATE EXTENSION pg_qualstats",
        "CREATE TABLE sales (id int PRIMARY KEY, customer int, region int, half int)",
        "INSERT INTO sales SELECT g, g % 4000, g % 300, g % 2 FROM generate_series(1, 30000) g",
        "CREATE FUNCTION of_region(one int) RETURNS bigint LANGUAGE plpgsql AS "
        "'BEGIN RETURN (SELECT count(*) FROM sales WHERE region = one); END'",
        "VACUUM ANALYZE",
        "SELECT pg_stat_statements_reset(), pg_qualstats_reset()",
    ):
        cluster.sql(statement)
    with cluster.connect() as connection:
        for number in range(6):
            connection.execute(b"SELECT sum(id) FROM sales WHERE customer = %s", [number])
            connection.execute(b"SELECT of_region(%s)", [number])
    request = Request(
        {
            "login_unix_socket": str(cluster.socket_directory),
            "login_port": cluster.port,
            "login_user": SUPERUSER,
            "login_db": "postgres",
        },
        str(cluster.root / "report"),
        ("postgres",),
        missing="hypopg",
        check=True,
    )
    found = of(json.loads(json.dumps(look_at(request))), "IX08")
    known, hidden = found[("sales", "customer")], found[("sales", "region")]
    assert known["grade"] == "validated"
    assert known["value"]["sampled"]["sample_share"] == 1.0
    assert known["value"]["sampled"]["filtered"] > 6 * 29_000
    assert (hidden["grade"], hidden["says"]["key"]) == ("heuristic", "IX08_sampled")
    assert hidden["value"]["sampled"]["occurrences"] == 6
    assert hidden["missing"][0]["key"] == "proof-of-plan" and hidden["action"]


def test_where_no_copy_can_be_had_it_is_said(shop: Shop) -> None:
    with pytest.raises(Refused) as caught:
        shop.look("copy")
    assert caught.value.code == "not-a-copy"
    config = ClusterConfig.load(str(shop.cluster.config_path))
    checked = shop.look("copy", config=config)
    without = shop.look("copy", config=config, check=False)
    for result, why in ((checked, "check mode"), (without, "backup")):
        told = {one["what"]: one["says"] for one in result["not_seen"]}["restored copy"]
        assert told["key"] == "unavailable" and why in told["values"]["detail"]
        # What plans tell is told all the same, and as no more than that.
        assert {one["grade"] for one in of(result, "IX08").values()} == {"heuristic"}


@pytest.mark.matrix
def test_what_a_killed_run_left_goes_with_the_next_copy(sandbox: Sandbox) -> None:
    """Its server, its directory and its lease; the live cluster is as it was."""
    cluster = Cluster(sandbox, installation=installations()[HYPOPG]).start()
    cluster.keeper("backup").expect(0)
    config = ClusterConfig.load(str(cluster.config_path))
    context = multiprocessing.get_context("fork")
    running = context.Event()

    def hold() -> None:
        with scratch(config):
            running.set()
            signal.pause()

    run = context.Process(target=hold, daemon=True)
    with cluster.unchanged():
        run.start()
        assert running.wait(60)
        run.kill()
        run.join()
        assert len(list(cluster.parent.iterdir())) > 1 and (cluster.state_directory / "scratch.json").exists()
        with scratch(config) as copy:
            dsn = (
                f"host={copy.login['login_unix_socket']} port={config.port} user={SUPERUSER} dbname=postgres"
            )
            with psycopg.connect(dsn) as connection:
                assert connection.execute("SELECT pg_is_in_recovery()").fetchall() == [(False,)]
    assert [path.name for path in cluster.parent.iterdir()] == ["data"]
    assert not (cluster.state_directory / "scratch.json").exists()
    assert list((cluster.repository / cluster.name / "leases").glob("*.json")) == []
