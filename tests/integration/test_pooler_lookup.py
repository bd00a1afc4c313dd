# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The role and the function that poolers look verifiers up with, in real servers of every major."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.pooling.lookup import ensure_lookup

from .harness.cluster import Cluster
from .harness.installation import Installation, an_installation_a_day
from .harness.waiting import wait_for

CALL = "SELECT role_name, verifier FROM dbkeeper_pooler.lookup(%s)"


@pytest.fixture(params=an_installation_a_day())
def server(request: pytest.FixtureRequest, make_cluster: Callable[..., Cluster]) -> Cluster:
    installation: Installation = request.param
    cluster = make_cluster(archiving=False, installation=installation)
    cluster.sql("CREATE DATABASE app")
    return cluster


def ensure(server: Cluster, *databases: str, check: bool = False) -> dict[str, Any]:
    config = ClusterConfig.from_dict(server.config, source="the test")
    return ensure_lookup(config, "pgbouncer", list(databases or ("app",)), check=check)


def told(server: Cluster, role: str, user: str = "pgbouncer") -> list[tuple[Any, ...]]:
    with server.connect("app", user) as connection:
        return connection.execute(CALL, (role,)).fetchall()


def test_it_is_made_once(server: Cluster) -> None:
    planned = ensure(server, check=True)
    assert (planned["changed"], planned["executed"], len(planned["plan"])) == (True, False, 2)
    assert server.sql("SELECT 1 FROM pg_roles WHERE rolname = 'pgbouncer'") == []
    assert ensure(server)["executed"] is True
    assert ensure(server) == ensure(server, check=True)
    assert ensure(server)["plan"] == []
    server.sql("CREATE ROLE alice LOGIN PASSWORD 'sesame'")
    verifier = server.value("SELECT rolpassword FROM pg_authid WHERE rolname = 'alice'")
    assert told(server, "alice") == [("alice", verifier)]
    assert told(server, "nobody") == [] == told(server, "pgbouncer") == told(server, "postgres")


def test_only_the_pooler_s_role_may_call_it_and_may_do_nothing_else(server: Cluster) -> None:
    ensure(server)
    server.sql("CREATE ROLE alice LOGIN PASSWORD 'sesame'")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        told(server, "alice", user="alice")
    with server.connect("app", "pgbouncer") as connection:
        for statement in (
            "SELECT rolpassword FROM pg_authid",
            "CREATE ROLE x",
            "CREATE TABLE dbkeeper_pooler.x (n int)",
            "CREATE FUNCTION dbkeeper_pooler.lookup(int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "SELECT pg_read_file('PG_VERSION')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())


def test_objects_of_a_caller_are_not_called(server: Cluster) -> None:
    """Neither the caller's search path nor what lies in it, temporary things included, reaches the function."""
    ensure(server)
    server.sql("CREATE ROLE alice LOGIN PASSWORD 'sesame'")
    server.sql("CREATE SCHEMA trap AUTHORIZATION pgbouncer", database="app")
    with server.connect("app", "pgbouncer") as connection:
        connection.execute(
            "CREATE FUNCTION trap.stolen(text, text) RETURNS bool LANGUAGE sql AS 'SELECT true'"
        )
        connection.execute("CREATE OPERATOR trap.= (LEFTARG = text, RIGHTARG = text, FUNCTION = trap.stolen)")
        connection.execute(
            "CREATE FUNCTION trap.starts_with(text, text) RETURNS bool LANGUAGE sql AS 'SELECT true'"
        )
        connection.execute(
            "CREATE TABLE trap.pg_authid AS SELECT 'alice'::name AS rolname, 'mine' AS rolpassword"
        )
        connection.execute(
            "CREATE TEMP TABLE pg_authid AS SELECT 'alice'::name AS rolname, 'mine' AS rolpassword"
        )
        connection.execute("SET search_path = trap, pg_temp, pg_catalog")
        verifier = server.value("SELECT rolpassword FROM pg_authid WHERE rolname = 'alice'")
        assert connection.execute(CALL, ("alice",)).fetchall() == [("alice", verifier)]
        assert connection.execute(CALL, ("postgres",)).fetchall() == []


@pytest.mark.parametrize(
    "damage",
    [
        "GRANT EXECUTE ON FUNCTION dbkeeper_pooler.lookup TO PUBLIC",
        "GRANT ALL ON SCHEMA dbkeeper_pooler TO PUBLIC",
        "GRANT CREATE ON SCHEMA dbkeeper_pooler TO pgbouncer",
        "REVOKE EXECUTE ON FUNCTION dbkeeper_pooler.lookup FROM pgbouncer",
        "REVOKE USAGE ON SCHEMA dbkeeper_pooler FROM pgbouncer",
        "REVOKE CONNECT ON DATABASE app FROM PUBLIC, pgbouncer; GRANT CONNECT ON DATABASE app TO alice",
        "ALTER FUNCTION dbkeeper_pooler.lookup SECURITY INVOKER",
        "ALTER FUNCTION dbkeeper_pooler.lookup RESET search_path",
        "ALTER FUNCTION dbkeeper_pooler.lookup SET search_path = public",
        "ALTER FUNCTION dbkeeper_pooler.lookup OWNER TO pgbouncer",
        "ALTER SCHEMA dbkeeper_pooler OWNER TO pgbouncer",
        "DROP SCHEMA dbkeeper_pooler CASCADE",
        "DROP FUNCTION dbkeeper_pooler.lookup; CREATE FUNCTION dbkeeper_pooler.lookup(n int) RETURNS int"
        " LANGUAGE sql AS 'SELECT 1'",
        "CREATE OR REPLACE FUNCTION dbkeeper_pooler.lookup(wanted text, OUT role_name text, OUT verifier text)"
        " RETURNS SETOF record LANGUAGE sql STABLE STRICT PARALLEL RESTRICTED SECURITY DEFINER"
        " SET search_path = pg_catalog, pg_temp AS 'SELECT rolname::text, rolpassword FROM pg_authid'",
        "ALTER ROLE pgbouncer SUPERUSER",
        "ALTER ROLE pgbouncer NOLOGIN",
        "ALTER ROLE pgbouncer CREATEROLE PASSWORD 'sesame'",
    ],
)
def test_what_is_not_as_it_should_be_is_put_right(make_cluster: Callable[..., Cluster], damage: str) -> None:
    server = make_cluster(archiving=False)
    server.sql("CREATE DATABASE app")
    ensure(server)
    server.sql("CREATE ROLE alice LOGIN PASSWORD 'sesame'")
    server.sql(damage, database="app")
    assert ensure(server, check=True)["changed"] is True
    assert ensure(server)["executed"] is True
    assert ensure(server)["changed"] is False
    assert len(told(server, "alice")) == 1 and told(server, "postgres") == []
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        told(server, "alice", user="alice")
    row = server.sql("SELECT rolsuper, rolcreaterole, rolpassword FROM pg_authid WHERE rolname = 'pgbouncer'")
    assert row == [(False, False, None)]


def test_a_database_that_is_not_there(make_cluster: Callable[..., Cluster]) -> None:
    server = make_cluster(archiving=False)
    with pytest.raises(Refused) as caught:
        ensure(server, "postgres", "nowhere")
    assert caught.value.code == "database-missing" and "nowhere" in caught.value.happened
    assert server.sql("SELECT 1 FROM pg_roles WHERE rolname = 'pgbouncer'") == []
    assert ensure(server, "postgres", "nowhere", check=True)["changed"] is True


def test_a_standby_gets_it_from_its_primary(make_cluster: Callable[..., Cluster]) -> None:
    primary = make_cluster(archiving=False, external_config=True)
    primary.sql("CREATE DATABASE app")
    primary.stop()
    root = primary.sandbox.root / "standby"
    standby = Cluster(
        primary.sandbox, "main", root=root, origin=primary, archiving=False, external_config=True
    )
    (standby.data_directory / "standby.signal").touch()
    standby.set(primary_conninfo=f"host={primary.socket_directory} port={primary.port} user=postgres")
    primary.start()
    standby.start()
    result = ensure(standby)
    assert (result["changed"], result["plan"]) == (False, [])
    assert "primary lacks" in result["warnings"][0]
    ensure(primary)
    primary.sql("CREATE ROLE alice LOGIN PASSWORD 'sesame'")
    wait_for(lambda: not ensure(standby)["warnings"], "the function to arrive")
    wait_for(lambda: len(told(standby, "alice")) == 1, "the role to arrive")


def test_odd_names(make_cluster: Callable[..., Cluster]) -> None:
    server = make_cluster(archiving=False)
    server.sql('CREATE DATABASE "o\'dd "" name"')
    config = ClusterConfig.from_dict(server.config, source="the test")
    names = ["o'dd \" name"]
    assert ensure_lookup(config, "pool \"er'", names, check=False)["changed"] is True
    assert ensure_lookup(config, "pool \"er'", names, check=False)["changed"] is False
