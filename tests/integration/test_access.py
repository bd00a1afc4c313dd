# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The groups of a database: who can do what is asked of the server, by doing it."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Failed
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.access import (
    DatabaseAccess,
    ensure_access,
)

from .harness.cluster import Cluster
from .harness.installation import a_major_a_day, installations
from .harness.sandbox import Sandbox

SHOP = DatabaseAccess("my-shop", schemas=("public", "stock"), creators=("maker",))
DENIED = psycopg.errors.InsufficientPrivilege


@pytest.fixture(scope="module", params=a_major_a_day())
def server(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A server with a database that has a past, and its groups with one member each."""
    sandbox = Sandbox()
    cluster = Cluster(
        sandbox, f"access{request.param}", installation=installations()[request.param], archiving=False
    ).start()
    cluster.sql('CREATE DATABASE "my-shop"')
    for role in ("reader", "writer", "maker", "stranger"):
        cluster.sql(f"CREATE ROLE {role} LOGIN")
    cluster.sql("CREATE TABLE old (id serial PRIMARY KEY)", database="my-shop")
    ensure(cluster)
    for level, role in (("readonly", "reader"), ("readwrite", "writer"), ("admin", "maker")):
        cluster.sql(f'GRANT "my-shop_{level}" TO {role}')
    yield cluster
    sandbox.close()


def ensure(cluster: Cluster, *, check: bool = False, access: DatabaseAccess = SHOP) -> list[str]:
    config = ClusterConfig.load(str(cluster.config_path))
    result = ensure_access(config, [access], check=check)
    assert result["changed"] == bool(result["plan"])
    assert result["executed"] == (bool(result["plan"]) and not check)
    plan: list[str] = result["plan"]
    return plan


def do(cluster: Cluster, role: str, statement: str) -> None:
    with cluster.connect("my-shop", role) as connection:
        connection.execute(statement.encode())


def test_the_second_time_nothing_is_missing(server: Cluster) -> None:
    assert ensure(server) == []


def test_who_may_do_what(server: Cluster) -> None:
    do(server, "maker", "CREATE TABLE IF NOT EXISTS stock.later (id serial PRIMARY KEY)")
    do(server, "maker", "CREATE TABLE IF NOT EXISTS later (id serial PRIMARY KEY)")
    for table in ("old", "later", "stock.later"):
        do(server, "reader", f"SELECT * FROM {table}")
        do(server, "writer", f"INSERT INTO {table} DEFAULT VALUES")
        do(server, "writer", f"DELETE FROM {table}")
        for statement in (f"INSERT INTO {table} DEFAULT VALUES", f"DELETE FROM {table}"):
            with pytest.raises(DENIED):
                do(server, "reader", statement)
        with pytest.raises(DENIED):
            do(server, "writer", f"TRUNCATE {table}")
    for role in ("reader", "writer"):
        for schema in ("public", "stock"):
            with pytest.raises(DENIED):
                do(server, role, f"CREATE TABLE {schema}.mine ()")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        do(server, "stranger", "SELECT 1")
    with pytest.raises(DENIED):
        do(server, "reader", "CREATE TEMPORARY TABLE t ()")
    assert ensure(server) == []


def test_what_somebody_took_away_comes_back(server: Cluster) -> None:
    server.sql('REVOKE SELECT ON old FROM "my-shop_readonly"', database="my-shop")
    server.sql('GRANT CONNECT ON DATABASE "my-shop" TO PUBLIC')
    wanted = [
        'REVOKE CONNECT ON DATABASE "my-shop" FROM PUBLIC',
        'GRANT SELECT ON ALL TABLES IN SCHEMA "public" TO "my-shop_readonly"',
    ]
    assert ensure(server, check=True) == wanted
    with pytest.raises(DENIED):
        do(server, "reader", "SELECT * FROM old")
    assert ensure(server) == wanted
    do(server, "reader", "SELECT * FROM old")
    assert ensure(server) == []


def test_a_new_creator_is_covered(server: Cluster) -> None:
    server.sql("DROP ROLE IF EXISTS other")
    server.sql("CREATE ROLE other LOGIN")
    more = DatabaseAccess("my-shop", creators=("maker", "other"))
    plan = ensure(server, access=more)
    assert len(plan) == 4
    assert all('FOR ROLE "other" IN SCHEMA "public" GRANT' in statement for statement in plan)
    assert ensure(server, access=more) == []
    server.sql("DROP OWNED BY other", database="my-shop")


def test_check_mode_before_there_is_a_database(server: Cluster) -> None:
    plan = ensure(server, check=True, access=DatabaseAccess("tomorrow"))
    assert plan[0] == 'CREATE ROLE "tomorrow_readonly" NOLOGIN'
    assert 'REVOKE CONNECT, TEMPORARY ON DATABASE "tomorrow" FROM PUBLIC' in plan
    assert server.value("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'tomorrow%'") == 0


def test_what_was_planned_is_what_was_needed(server: Cluster) -> None:
    planned = ensure(server, check=True, access=DatabaseAccess("today"))
    server.sql("CREATE DATABASE today")
    done = ensure(server, access=DatabaseAccess("today"))
    # 14 lets everybody create in the schema public.
    assert [statement for statement in done if 'REVOKE CREATE ON SCHEMA "public"' not in statement] == planned
    server.sql("DROP DATABASE today")
    server.sql("DROP ROLE today_readonly, today_readwrite, today_admin")


def test_a_database_that_is_not_there_is_said(server: Cluster) -> None:
    with pytest.raises(Failed) as failure:
        ensure(server, access=DatabaseAccess("nowhere"))
    assert 'database "nowhere" does not exist' in failure.value.happened
