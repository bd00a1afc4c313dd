# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a load does while pg_restore works: large tables are counted, files are held against their digests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness.cluster import Cluster
from .harness.sandbox import Sandbox

ROWS = 120_000
#: Whoever fills the view takes a row away, but not where it was made: after the rows are in.
SHRINK = """
CREATE FUNCTION shrink() RETURNS int LANGUAGE plpgsql AS $$
BEGIN
  IF current_database() <> 'app' THEN DELETE FROM public.large WHERE n = 1; END IF;
  RETURN 1;
END $$
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    sandbox = Sandbox()
    cluster = Cluster(sandbox, "main", archiving=False, settings={"log_statement": "all"}).start()
    cluster.sql("CREATE DATABASE app")
    cluster.sql(
        "CREATE TABLE large AS SELECT n, md5(n::text) AS t FROM generate_series(1, %s::int) AS n",
        ROWS,
        database="app",
    )
    cluster.sql("ALTER TABLE large ADD PRIMARY KEY (n)", database="app")
    cluster.sql("CREATE TABLE small AS SELECT generate_series(1, 10) AS n", database="app")
    yield cluster
    sandbox.close()


def counts_of(cluster: Cluster, since: int) -> int:
    """How often the rows of the large table were counted since the log had a length."""
    text = Path(cluster.server_log).read_bytes()[since:].decode()
    return text.count("statement: SELECT json_build_array(count(*), NULL) FROM ONLY public.large")


@pytest.mark.parametrize("jobs", [pytest.param(1, marks=pytest.mark.matrix), 2])
def test_a_large_table_is_counted_once(server: Cluster, jobs: int) -> None:
    label = f"jobs-{jobs}"
    how = ["--format", "directory", "--jobs", str(jobs), "--rows", "count", "--no-globals"]
    server.keeper("dump", "--database", "app", "--label", label, *how).expect()
    since = Path(server.server_log).stat().st_size
    found = server.keeper("load", label, "--database", "app", "--into", label, "--jobs", str(jobs)).expect()
    assert (found["load"]["proof"], found["load"]["rows"]) == ("count", ROWS + 10)
    # Meanwhile, or (where statistics had not come in yet) again at the end.
    assert counts_of(server, since) in (1, 2)


@pytest.mark.parametrize("jobs", [pytest.param(1, marks=pytest.mark.matrix), 2])
def test_rows_that_change_after_they_were_counted_are_found(server: Cluster, jobs: int) -> None:
    server.sql(SHRINK, database="app")
    server.sql("CREATE MATERIALIZED VIEW filled AS SELECT shrink() AS n", database="app")
    try:
        label = f"shrinks-{jobs}"
        server.keeper("dump", "--database", "app", "--label", label, "--format", "directory").expect()
        answer = server.keeper("load", label, "--database", "app", "--into", "less", "--jobs", str(jobs))
        answer.failed("load-rows-differ", "public.large")
        assert (
            server.sql("SELECT datname FROM pg_database WHERE datname LIKE 'dbkeeper%%' OR datname = 'less'")
            == []
        )
    finally:
        server.sql("DROP MATERIALIZED VIEW filled; DROP FUNCTION shrink()", database="app")


@pytest.mark.parametrize("how", [pytest.param("custom", marks=pytest.mark.matrix), "directory"])
def test_a_large_file_that_is_not_what_was_written(server: Cluster, how: str) -> None:
    """It is found while pg_restore reads it; whatever that makes of it is gone again."""
    label = f"rotten-{how}"
    server.keeper(
        "dump", "--database", "app", "--label", label, "--format", how, "--compression", "none"
    ).expect()
    root = server.repository / "main" / "dump" / "app" / label
    path = max((one for one in root.rglob("*") if one.is_file()), key=lambda one: one.stat().st_size)
    data = bytearray(path.read_bytes())
    assert len(data) > 1 << 20
    # A letter of a text: pg_restore loads it without a word.
    data[len(data) // 2] ^= 1
    path.chmod(0o640)
    path.write_bytes(bytes(data))
    server.keeper("load", label, "--database", "app", "--into", "rot").failed("dump-file-damaged", "digest")
    assert (
        server.sql("SELECT datname FROM pg_database WHERE datname LIKE 'dbkeeper%%' OR datname = 'rot'") == []
    )
