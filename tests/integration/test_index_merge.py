# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""MERGE among the statements that a missing index is tried with: run on the copy with values of the table, and rolled
back."""

from __future__ import annotations

import json

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.look import Request, look_at

from .harness.cluster import Cluster
from .harness.installation import a_major_a_day, installations
from .harness.sandbox import Sandbox
from .harness.template import SUPERUSER

MERGES = (
    "MERGE INTO stock USING (SELECT 1) AS one ON stock.item = %s "
    "WHEN MATCHED THEN UPDATE SET note = %s WHEN NOT MATCHED THEN DO NOTHING",
    "MERGE INTO stock USING (SELECT 1) AS one ON stock.item = %s WHEN MATCHED THEN DELETE",
)
CONTENT = "SELECT count(*), md5(string_agg(s::text, ',' ORDER BY id)), min(xmin::text), max(xmin::text) FROM stock s"


@pytest.mark.parametrize("major", a_major_a_day(least=15))
def test_a_merge_is_run_for_real_and_rolled_back(major: int, sandbox: Sandbox) -> None:
    cluster = Cluster(
        sandbox,
        installation=installations()[major],
        archiving=False,
        settings={"shared_preload_libraries": "pg_stat_statements"},
    ).start()
    for statement in (
        "CREATE EXTENSION pg_stat_statements",
        "CREATE TABLE stock (id int PRIMARY KEY, item int, note text)",
        "INSERT INTO stock SELECT g, g % 4000, md5(g::text) FROM generate_series(1, 40000) g",
        "CREATE TABLE fired (what text)",
        "CREATE FUNCTION fired() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO fired VALUES (TG_OP); RETURN NULL; END $$",
        "VACUUM ANALYZE stock",
    ):
        cluster.sql(statement)
    with cluster.connect() as connection:
        connection.execute(b"BEGIN")
        for _call in range(3):
            connection.execute(MERGES[0].encode(), [7, "new"])
        connection.execute(MERGES[1].encode(), [8])
        connection.execute(b"ROLLBACK")
    cluster.sql("CREATE TRIGGER fired AFTER UPDATE OR DELETE ON stock EXECUTE FUNCTION fired()")
    cluster.sql("VACUUM ANALYZE stock")
    before = cluster.sql(CONTENT)
    login = {
        "login_unix_socket": str(cluster.socket_directory),
        "login_port": cluster.port,
        "login_user": SUPERUSER,
        "login_db": "postgres",
    }
    place = str(cluster.root / "report")
    request = Request(login, place, ("postgres",), missing="build", check=True, is_copy=True)
    result = json.loads(json.dumps(look_at(request)))
    (found,) = [
        one
        for one in result["findings"]
        if one["class"] == "IX08" and one["object"].get("columns") == ["item"]
    ]
    assert found["grade"] == "measured"
    texts = dict(cluster.sql("SELECT queryid::text, query FROM pg_stat_statements WHERE query LIKE 'MERGE%'"))
    runs = {texts[one["queryid"]]: one["runs"] for one in found["value"]["writes"]}
    assert sorted(text.endswith("DELETE") for text in runs) == [False, True]
    for text, samples in runs.items():
        assert samples, text
        for run in samples.values():
            # Each item has ten rows; what is found by an index need not be looked for in all of the table.
            assert run["rows"] >= 1 and run["wal_bytes_before"] > 0 and run["wal_bytes_after"] > 0
            assert run["blocks_after"] < run["blocks_before"]
    # It ran: rows died of it. It was rolled back, no trigger fired, and the index is gone.
    assert cluster.value("SELECT n_dead_tup > 0 FROM pg_stat_user_tables WHERE relname = 'stock'")
    assert cluster.sql(CONTENT) == before
    assert cluster.value("SELECT count(*) FROM fired") == 0
    assert cluster.value("SELECT count(*) FROM pg_indexes WHERE tablename = 'stock'") == 1
