# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The report on statements against real servers: every version of the extension, resets, evictions, secrets."""

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
from .report_help import of_class, queries, reporter, standby_of

#: The newest version of the extension by major, and those that CREATE EXTENSION ... VERSION may make there.
VERSIONS = {
    14: ["1.8", "1.9"],
    15: ["1.9", "1.10"],
    16: ["1.9", "1.10"],
    17: ["1.9", "1.10", "1.11"],
    18: ["1.9", "1.12"],
}
SETTINGS = {
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track_planning": "on",
    "track_io_timing": "on",
}


@pytest.fixture
def server(make_cluster: Callable[..., Cluster]) -> Callable[..., Cluster]:
    def make(major: int | None = None, version: str | None = None, **settings: str) -> Cluster:
        installation = installations()[major] if major else None
        cluster = make_cluster(archiving=False, installation=installation, settings={**SETTINGS, **settings})
        cluster.sql(
            f"CREATE EXTENSION pg_stat_statements{f' VERSION {chr(39)}{version}{chr(39)}' if version else ''}"
        )
        reporter(cluster)
        return cluster

    return make


def statement(result: dict[str, Any], part: str) -> dict[str, Any]:
    found = [one for one in result["facts"]["statements"] if part in (one["text"] or "")]
    assert len(found) == 1, [one["text"] for one in result["facts"]["statements"]]
    return found[0]


@pytest.mark.parametrize("major", a_major_a_day())
def test_every_version_of_the_extension_counts_what_ran_between_two_runs(
    major: int, server: Callable[..., Cluster]
) -> None:
    cluster = server(major, VERSIONS[major][0])
    for version in VERSIONS[major]:
        cluster.sql(f"ALTER EXTENSION pg_stat_statements UPDATE TO '{version}'")
        first = queries(cluster, top=500)
        assert first["facts"]["extension"]["version"] == version
        with cluster.connect() as connection:
            for number in range(7):
                connection.execute(b"SELECT count(*) AS seven FROM generate_series(1, %s::int)", (number,))
        again = queries(cluster, top=500)
        assert again["not_seen"] == []
        assert again["facts"]["window"]["why"] == "stored"
        found = statement(again, "AS seven")
        assert (found["calls"], found["rows"], found["database"], found["user"]) == (
            7,
            7,
            "postgres",
            "postgres",
        )
        # Before 1.9 nobody says whether entries were thrown out in between.
        assert found["certainty"] == ("at-least" if version == "1.8" else "exact")
        assert any(mine["ours"] for mine in again["facts"]["statements"])
        behind = of_class(again, "QY14")
        assert bool(behind) == (version != VERSIONS[major][-1])


def test_nothing_new_changes_nothing_and_check_mode_stores_nothing(server: Callable[..., Cluster]) -> None:
    cluster = server()
    assert queries(cluster, check=True)["baseline"]["stored"] is False
    assert not (cluster.root / "report").exists()
    queries(cluster, limits=Limits())
    with cluster.unchanged():
        again = queries(cluster, limits=Limits())
    assert (again["changed"], again["baseline"]["stored"], again["baseline"]["runs"]) == (False, True, 2)
    assert {one["state"] for one in again["findings"]} <= {"known"}
    before = queries(cluster, check=True)["facts"]["window"]["since"]
    assert queries(cluster, check=True)["facts"]["window"]["since"] == before


def test_statistics_that_somebody_resets_begin_a_window_at_that_moment(
    server: Callable[..., Cluster],
) -> None:
    cluster = server()
    for _number in range(5):
        cluster.sql("SELECT 1 AS reset_me")
    queries(cluster)
    cluster.sql("SELECT pg_stat_statements_reset()")
    at = cluster.value(
        "SELECT to_char(stats_reset AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS') FROM pg_stat_statements_info"
    )
    for _number in range(3):
        cluster.sql("SELECT 1 AS reset_me")
    found = queries(cluster, top=100)
    assert (found["facts"]["window"]["why"], found["facts"]["window"]["since"][:19]) == ("reset", at)
    assert statement(found, "AS reset_me")["calls"] == 3


def test_one_entry_that_is_reset_is_a_lower_bound(server: Callable[..., Cluster]) -> None:
    cluster = server()
    for _number in range(9):
        cluster.sql("SELECT 1 AS just_me")
    queries(cluster)
    cluster.sql(
        "SELECT pg_stat_statements_reset(0, 0, queryid) FROM pg_stat_statements WHERE query LIKE '%just_me%'"
    )
    cluster.sql("SELECT 1 AS just_me")
    found = statement(queries(cluster, top=100), "AS just_me")
    assert (found["how"], found["certainty"], found["calls"]) == ("restarted", "at-least", 1)


def test_what_is_thrown_out_is_told(server: Callable[..., Cluster]) -> None:
    cluster = server(**{"pg_stat_statements.max": "100"})
    queries(cluster)
    with cluster.connect() as connection:
        for number in range(300):
            connection.execute(f"SELECT {', '.join(['1'] * (number + 1))}".encode())
    found = queries(cluster)
    (told,) = of_class(found, "QY10")
    assert 0 < told["value"]["evictions"] <= cluster.value("SELECT dealloc FROM pg_stat_statements_info")
    assert told["action"] == ["ALTER SYSTEM SET pg_stat_statements.max = 200"]


def test_no_secret_is_ever_shown_or_kept(server: Callable[..., Cluster]) -> None:
    cluster = server(15)
    queries(cluster)
    secrets = ["hunter2aa", "hunter2bb", "hunter2cc", "hunter2dd", "hunter2ee"]
    cluster.sql(f"CREATE ROLE s1 LOGIN PASSWORD '{secrets[0]}'")
    cluster.sql(f"/* hunter2dd */ ALTER ROLE s1 PASSWORD '{secrets[1]}'")
    cluster.sql(f"SET app.token TO {secrets[2]}")
    cluster.sql(f"DO $x$ BEGIN PERFORM '{secrets[4]}'; END $x$")
    with cluster.connect() as connection:
        connection.execute(b"SELECT 'dummy' AS given -- hunter2dd")
    for level in ("none", "normalised", "sample"):
        found = queries(cluster, text=level, top=500, min_window_seconds=1e9)
        texts = [one["text"] for one in found["facts"]["statements"]]
        hidden = secrets[:3] + secrets[4:] + ([secrets[3]] if level != "sample" else [])
        assert not [secret for secret in hidden if secret in repr(found)]
        assert (set(texts) == {None}) == (level == "none")
        kept = gzip.decompress(Path(found["baseline"]["file"]).read_bytes()).decode()
        assert not [secret for secret in secrets if secret in kept]
        if level != "none":
            assert "CREATE ROLE …" in texts and "ALTER ROLE …" in texts and "DO …" in texts


def test_a_role_without_rights_a_missing_extension_and_one_elsewhere(server: Callable[..., Cluster]) -> None:
    cluster = server()
    cluster.sql("CREATE ROLE nobody_at_all LOGIN")
    found = queries(cluster, user="nobody_at_all")
    assert any("hidden" in gap["why"] for gap in found["not_seen"])
    cluster.sql("CREATE DATABASE bare")
    elsewhere = queries(cluster, database="bare")
    assert (elsewhere["facts"]["extension"]["database"], elsewhere["not_seen"]) == ("postgres", [])
    cluster.sql("DROP EXTENSION pg_stat_statements")
    missing = queries(cluster)
    assert [gap["what"] for gap in missing["not_seen"]] == ["pg_stat_statements"]
    assert (missing["findings"], missing["facts"], missing["changed"]) == ([], {}, False)


def test_a_library_that_is_not_loaded_is_not_seen(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(archiving=False)
    cluster.sql("CREATE EXTENSION pg_stat_statements")
    reporter(cluster)
    found = queries(cluster)
    assert [gap["what"] for gap in found["not_seen"]] == ["statements of pg_stat_statements"]
    assert "shared_preload_libraries" in found["not_seen"][0]["why"]


def test_a_plan_that_reads_more_is_a_regression_of_its_kind_and_so_are_growth_volume_and_waiting(
    server: Callable[..., Cluster],
) -> None:
    cluster = server(autovacuum="off")
    cluster.sql(
        "CREATE TABLE item AS SELECT g AS id, g % 100 AS kind, repeat('x', 200) AS pad FROM generate_series(1, 60000) g"
    )
    cluster.sql("CREATE INDEX item_id ON item (id)")
    cluster.sql("CREATE TABLE grown AS SELECT 1 AS one, repeat('x', 50) AS pad FROM generate_series(1, 20)")
    cluster.sql("VACUUM ANALYZE item, grown")
    cluster.sql("CREATE TABLE held (id int); INSERT INTO held VALUES (1)")

    def load(connection: psycopg.Connection[Any], often: int) -> None:
        for number in range(40):
            connection.execute(b"SELECT pad FROM item WHERE id = %s", (number,))
            connection.execute(b"SELECT one, pad FROM grown")
            connection.execute(b"SELECT id FROM held, pg_sleep(%s)", (0.02 if often > 1 else 0.0,))
        for _number in range(60 * often):
            connection.execute(b"SELECT count(*) FROM generate_series(1, 5000) AS oftener")

    queries(cluster, top=500)
    with cluster.connect() as connection:
        load(connection, 1)
    queries(cluster, top=500)
    cluster.sql("DROP INDEX item_id")
    cluster.sql("INSERT INTO grown SELECT 1, repeat('x', 50) FROM generate_series(1, 20000)")
    with cluster.connect() as connection:
        load(connection, 5)
    found = queries(cluster, top=500)
    by_id = {one["id"]: one["text"] for one in found["facts"]["statements"]}
    kinds = {by_id[one["id"]]: one["kind"] for one in found["facts"]["regressions"]}
    expected = {"FROM item WHERE": "plan", "FROM grown": "data-growth", "FROM held": "contention"}
    for part, kind in expected.items():
        assert [told for text, told in kinds.items() if part in text] == [kind], kinds
    worse = {one["id"]: one["value"]["kind"] for one in of_class(found, "QY02")}
    assert set(worse.values()) == set(expected.values())
    with cluster.connect() as connection:
        load(connection, 5)
    still = {one["id"]: one["state"] for one in of_class(queries(cluster, top=500), "QY02")}
    assert [still[identity] for identity, kind in worse.items() if kind != "contention"] == ["known", "known"]


def test_a_generic_plan_is_asked_for_and_a_lost_index_seen_in_it(server: Callable[..., Cluster]) -> None:
    cluster = server(18)
    cluster.sql('CREATE TABLE "見出し 1" AS SELECT g AS id FROM generate_series(1, 20000) g')
    cluster.sql('CREATE INDEX "i 1" ON "見出し 1" (id); ANALYZE')
    cluster.sql('GRANT SELECT ON "見出し 1" TO reporter')
    with cluster.connect() as connection:
        for number in range(50):
            connection.execute('SELECT * FROM "見出し 1" WHERE id = %s'.encode(), (number,))
    planned = [one for one in queries(cluster, plans=50)["facts"]["statements"] if one["plan"]]
    nodes = [node for one in planned for node in one["plan"]["nodes"] if node["relation"] == "見出し 1"]
    assert "i 1" in [node["index"] for node in nodes]
    cluster.sql('DROP INDEX "i 1"')
    with cluster.connect() as connection:
        for number in range(50):
            connection.execute('SELECT * FROM "見出し 1" WHERE id = %s'.encode(), (number,))
    found = queries(cluster, plans=50)
    assert any("見出し 1" in str(one["text"]) for one in found["facts"]["statements"])
    assert of_class(found, "QY15")


def test_texts_are_fetched_once_for_a_new_statement(server: Callable[..., Cluster]) -> None:
    cluster = server()
    with cluster.connect() as connection:
        connection.execute(b"SELECT 1 AS first_of_all")
    mark = "query LIKE '%dbkeeper report%queryid = ANY%'"
    asked = f"SELECT coalesce(sum(calls), 0) FROM pg_stat_statements WHERE {mark}"
    queries(cluster)
    queries(cluster)
    # The reports' own statements and these two are known by now.
    cluster.sql(asked)
    queries(cluster)
    before = cluster.value(asked)
    for _number in range(3):
        assert (
            statement(queries(cluster, top=500, min_window_seconds=1e9), "coalesce(sum(calls)")["calls"] >= 1
        )
    assert cluster.value(asked) == before
    with cluster.connect() as connection:
        connection.execute(b"SELECT 1, 2 AS another_one")
    queries(cluster)
    assert cluster.value(asked) == before + 1


def test_a_standby_tells_of_its_own_statements(server: Callable[..., Cluster]) -> None:
    primary = server()
    standby = standby_of(primary, **SETTINGS)
    wait_for(
        lambda: standby.value("SELECT count(*) FROM pg_roles WHERE rolname = 'reporter'") == 1, "the role"
    )
    first = queries(standby)
    for _number in range(4):
        standby.sql("SELECT count(*) AS only_here FROM pg_class")
    found = queries(standby, top=500)
    assert (found["node"]["role"], found["not_seen"], first["not_seen"]) == ("standby", [], [])
    assert statement(found, "only_here")["calls"] == 4
    standby.program("pg_ctl", "promote", "-w", "-s", "-D", str(standby.data_directory))
    assert queries(standby)["facts"]["window"]["why"] == "promotion"
