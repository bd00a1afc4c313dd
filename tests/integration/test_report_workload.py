# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The report on statements over workloads that are made for it: each ranking has its statement, each secret its place
in the statistics of the server, and none in what is shown or kept."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.query.request import Limits

from .harness.cluster import Cluster
from .harness.installation import a_major_a_day, installations
from .harness.waiting import wait_for
from .report_help import of_class, queries, reporter

SETTINGS = {
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track": "all",
    "pg_stat_statements.track_planning": "on",
    "track_io_timing": "on",
    # So small that a table of a few megabytes is read again each time.
    "shared_buffers": "1MB",
}
#: What holds a secret, as people write it; ``{}`` is the secret, ``{place}`` a connection to this server.
FORMS = (
    "CREATE ROLE s1 LOGIN PASSWORD '{}'",
    "CREATE USER s2 WITH ENCRYPTED PASSWORD '{}' VALID UNTIL '2030-01-01'",
    "ALTER ROLE s1 PASSWORD '{}'",
    "alter user s2 with password E'{}'",
    "ALTER ROLE s1 PASSWORD U&'{}'",
    'CREATE /* a role */ ROLE "we ""ird" -- with a comment\n PASSWORD\n\'{}\'',
    "ALTER ROLE s1 SET app.token = '{}'",
    "ALTER DATABASE postgres SET app.token TO '{}'",
    "ALTER SYSTEM SET primary_conninfo = 'host=nowhere password={}'",
    "SET app.token = '{}'",
    'SET SESSION app.token TO "{}"',
    "CREATE SUBSCRIPTION sub CONNECTION 'host=nowhere dbname=x password={}' PUBLICATION p WITH (connect = false)",
    "ALTER SUBSCRIPTION sub CONNECTION 'host=nowhere dbname=y password={}'",
    "CREATE SERVER away FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'nowhere', passfile '{}')",
    "CREATE USER MAPPING FOR s1 SERVER away OPTIONS (user 'x', password '{}')",
    "ALTER USER MAPPING FOR s1 SERVER away OPTIONS (SET password '{}')",
    "SELECT dblink_connect('far', '{place} password={}')",
    "SELECT * FROM dblink('{place} password={}', 'SELECT 1') AS t(a int)",
    "COPY (SELECT 1) TO PROGRAM 'cat > /dev/null # {}'",
    "COPY held FROM PROGRAM 'echo {} > /dev/null'",
    "DO $do$ BEGIN PERFORM '{}'; END $do$",
    "DO 'BEGIN EXECUTE format(''ALTER ROLE s1 PASSWORD %L'', ''{}''); END'",
    "PREPARE prepared AS SELECT '{}'::text",
    "DECLARE c CURSOR WITH HOLD FOR SELECT '{}'::text",
    "EXPLAIN SELECT '{}'::text",
    "CREATE TABLE made AS SELECT '{}'::text AS t",
    "CREATE VIEW seen AS SELECT '{}'::text AS t",
    "CREATE FUNCTION told() RETURNS text LANGUAGE sql AS $$ SELECT '{}'::text $$",
    "ALTER TABLE held ADD COLUMN given text DEFAULT '{}'",
    "CREATE POLICY limited ON held USING (given = '{}')",
    "COMMENT ON ROLE s1 IS '{}'",
    "NOTIFY channel, '{}'",
    "SELECT 1; ALTER ROLE s1 PASSWORD '{}'; SELECT 2",
    "VALUES ('{}')",
    "WITH w AS (SELECT '{}'::text AS t) SELECT t FROM w",
    "INSERT INTO held (given) VALUES ('{}')",
)

#: dblink and postgres_fdw by their names: what counts is the text of the statement, and their libraries want the libpq
#: of their own major, which these installations share.
STANDING_IN = """
CREATE FUNCTION dblink_connect(text, text) RETURNS text LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION dblink(text, text) RETURNS SETOF record LANGUAGE sql AS 'SELECT 1';
CREATE FOREIGN DATA WRAPPER postgres_fdw;
"""


@pytest.fixture
def server(make_cluster: Callable[..., Cluster]) -> Callable[..., Cluster]:
    def make(major: int | None = None, **settings: str) -> Cluster:
        installation = installations()[major] if major else None
        cluster = make_cluster(archiving=False, installation=installation, settings={**SETTINGS, **settings})
        cluster.sql("CREATE EXTENSION pg_stat_statements")
        reporter(cluster)
        return cluster

    return make


@pytest.mark.parametrize("major", a_major_a_day())
def test_no_form_of_a_secret_is_shown_or_kept(major: int, server: Callable[..., Cluster]) -> None:
    cluster = server(major)
    cluster.sql("CREATE TABLE held (id int); " + STANDING_IN)
    queries(cluster)
    place = f"host={cluster.socket_directory} port={cluster.port} dbname=postgres user=postgres"
    secrets = {form: f"hunter{number:02d}x" for number, form in enumerate(FORMS)}
    with cluster.connect() as connection:
        for form, secret in secrets.items():
            connection.execute(form.replace("{place}", place).replace("{}", secret).encode())
    raw = " ".join(str(row[0]) for row in cluster.sql("SELECT query FROM pg_stat_statements"))
    # Else there would be nothing to hide: most of these forms are kept word for word by the server.
    assert sum(secret in raw for secret in secrets.values()) >= 15
    for level in ("none", "normalised", "sample"):
        found = queries(cluster, text=level, top=500, min_window_seconds=1e9)
        kept = gzip.decompress(Path(found["baseline"]["file"]).read_bytes()).decode()
        leaks = [form for form, secret in secrets.items() if secret in repr(found) or secret in kept]
        assert leaks == [], level
    texts = {str(one["text"]) for one in found["facts"]["statements"]}
    assert {"CREATE ROLE …", "CREATE SUBSCRIPTION …", "ALTER USER MAPPING …", "COPY …", "DO …"} <= texts
    cluster.sql("ALTER SUBSCRIPTION sub SET (slot_name = NONE); DROP SUBSCRIPTION sub")


def _work(connection: psycopg.Connection[Any]) -> None:
    """One statement for each ranking."""
    run = connection.execute
    for _number in range(400):
        run(b"SELECT 1 AS most_often")
    run(b"SELECT pg_sleep(0.4) AS longest")
    for number in range(20):
        run(b"SELECT pg_sleep(%s) AS now_and_then", (0.05 if number == 7 else 0.0,))
    for _number in range(8):
        run(b"SELECT count(*) AS reads_most FROM wide")
    run(b"SET work_mem = '64MB'; SELECT g AS most_rows FROM generate_series(1, 100000) AS g")
    run(b"SET work_mem = '64kB'; SELECT g AS spills FROM generate_series(1, 60000) AS g ORDER BY -g LIMIT 1")
    run(b"RESET work_mem")
    run(b"INSERT INTO logged SELECT g, repeat('x', 100) AS logs_most FROM generate_series(1, 20000) AS g")
    for _number in range(30):
        run(b"SELECT a.id AS plans_most FROM " + b", ".join(b"one AS %c" % letter for letter in b"abcdefgh"))


EXPECTED = {
    "mean": "longest",
    "calls": "most_often",
    "rows_per_call": "most_rows",
    "read": "reads_most",
    "temp": "spills",
    "wal": "logs_most",
    "planning": "plans_most",
    "variance": "now_and_then",
    "dirtied": "logs_most",
}


@pytest.mark.parametrize("major", a_major_a_day())
def test_each_ranking_has_the_statement_that_was_made_for_it(
    major: int, server: Callable[..., Cluster]
) -> None:
    cluster = server(major, autovacuum="off")
    cluster.sql(
        "CREATE TABLE wide AS SELECT g AS id, repeat('x', 900) AS pad FROM generate_series(1, 6000) AS g;"
        "CREATE TABLE logged (id int, pad text); CREATE TABLE one (id int);"
        "CREATE ROLE shop LOGIN SUPERUSER"
    )
    cluster.sql("CREATE DATABASE elsewhere")
    cluster.sql("VACUUM wide")
    queries(cluster, top=500)
    with cluster.connect(user="shop") as connection:
        _work(connection)
    with cluster.connect(database="elsewhere") as connection:
        for _number in range(50):
            connection.execute(b"SELECT 1 AS in_the_other_database")
    found = queries(cluster, top=500)
    facts = found["facts"]
    said = {(one["id"], one["database"], one["user"]): str(one["text"]) for one in facts["statements"]}
    for ranking, part in EXPECTED.items():
        # What the report itself and the test's set-up did is in the rankings, too, and is told apart by its mark.
        mine = [said[(one["id"], one["database"], one["user"])] for one in facts["top"][ranking]]
        ours = [text for text in mine if any(word in text for word in EXPECTED.values())]
        # Many short ones of which a busy machine holds up one vary as much.
        short = [EXPECTED[name] for name in ("calls", "planning")] if ranking == "variance" else []
        near = [text for text in ours if not any(word in text for word in short)]
        assert near and part in near[0], (ranking, mine[:4])
    shares = {one["name"]: one for one in facts["by_database"]}
    assert shares["elsewhere"]["calls"] == 50
    by_user = {one["name"]: one for one in facts["by_user"]}
    sent = [one for one in facts["statements"] if one["toplevel"]]
    assert by_user["shop"]["calls"] == sum(one["calls"] for one in sent if one["user"] == "shop")
    assert sum(one["load_share"] for one in shares.values()) == pytest.approx(1, abs=1e-4)
    assert sum(one["load_share"] for one in by_user.values()) == pytest.approx(1, abs=1e-4)
    # The same work once more is twice as much since the reset, and as much in the window.
    with cluster.connect(user="shop") as connection:
        _work(connection)
    again = queries(cluster, top=500)["facts"]
    window = {one["id"]: one for one in again["statements"] if "most_often" in str(one["text"])}
    since = {one["id"]: one for one in again["since_reset"]["statements"] if one["id"] in window}
    assert [one["calls"] for one in window.values()] == [400]
    assert [one["calls"] for one in since.values()] == [800]
    (often,) = window.values()
    assert len(often["history"]) >= 2 and often["history"][-1][0] > 0


@pytest.mark.matrix
def test_more_calls_of_the_same_length_are_volume(server: Callable[..., Cluster]) -> None:
    cluster = server()
    queries(cluster, top=500)
    with cluster.connect() as connection:
        for _number in range(40):
            connection.execute(b"SELECT pg_sleep(0.02) AS asked_for")
        # Nothing that has the same shape as what is counted.
        connection.execute(b"SELECT count(*) FROM pg_sleep(2)")
    queries(cluster, top=500)
    with cluster.connect() as connection:
        for _number in range(100):
            connection.execute(b"SELECT pg_sleep(0.02) AS asked_for")
    found = queries(cluster, top=500)
    by_id = {one["id"]: str(one["text"]) for one in found["facts"]["statements"]}
    told = [one for one in found["facts"]["regressions"] if "asked_for" in by_id[one["id"]]]
    seen = [
        (one["calls"], one["mean_ms"], one["history"])
        for one in found["facts"]["statements"]
        if "asked_for" in str(one["text"])
    ]
    assert [one["kind"] for one in told] == ["volume"], f"{seen} {found['facts']['window']}"
    assert len([one for one in of_class(found, "QY03") if told[0]["id"] in one["object"].values()]) == 1


@pytest.mark.matrix
def test_what_is_not_counted_is_told_as_missing_coverage(server: Callable[..., Cluster]) -> None:
    cluster = server()
    limits = Limits(least_ms=0, coverage_seconds=0)
    queries(cluster, limits=limits)
    with cluster.connect() as connection:
        connection.execute(b"SET pg_stat_statements.track = 'none'")
        connection.execute(b"SELECT pg_sleep(1.5)")
    # A session's figures come with its end, a moment after it.
    worked = "SELECT active_time FROM pg_stat_database WHERE datname = 'postgres'"
    wait_for(lambda: cluster.value(worked) > 1500, "the time that was worked")
    found = queries(cluster, limits=limits)
    assert found["facts"]["coverage_share"] < 0.5
    (told,) = of_class(found, "QY11")
    assert told["value"]["covered_share"] == found["facts"]["coverage_share"]


@pytest.mark.matrix
@pytest.mark.parametrize("major", [major for major in sorted(installations()) if major >= 16])
def test_generic_plans_of_the_worst_are_asked_for_on_each_major(
    major: int, server: Callable[..., Cluster]
) -> None:
    cluster = server(major)
    cluster.sql("CREATE TABLE item AS SELECT g AS id FROM generate_series(1, 20000) AS g")
    cluster.sql("CREATE INDEX item_id ON item (id); ANALYZE item; GRANT SELECT ON item TO reporter")
    with cluster.connect() as connection:
        for number in range(50):
            connection.execute(b"SELECT id FROM item WHERE id = %s", (number,))
    found = queries(cluster, plans=30)["facts"]["statements"]
    nodes = [node for one in found if one["plan"] for node in one["plan"]["nodes"]]
    assert ("item_id", "item") in {(node["index"], node["relation"]) for node in nodes}
