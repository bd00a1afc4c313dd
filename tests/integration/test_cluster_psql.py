# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""SQL through psql: values come back as they are, whatever is in them; errors have their SQLSTATE."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster import sql
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.extension import ensure_extension
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.psql import answers, query
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Failed, Refused

from .harness.cluster import Cluster
from .harness.sandbox import Sandbox


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    sandbox = Sandbox()
    yield Cluster(sandbox, "main", archiving=False).start()
    sandbox.close()


@pytest.fixture(scope="module")
def config(server: Cluster) -> ClusterConfig:
    return ClusterConfig.load(str(server.config_path))


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "NULL",
        '"',
        "''",
        "a,b",
        "a\nb",
        "a\r\nb",
        "\\.",
        "\\N",
        "it's",
        ":name",
        "$$",
        "日本語",
        "\t|",
        '","',
    ],
)
def test_values_go_there_and_back(config: ClusterConfig, value: str) -> None:
    assert query(config, "SELECT :'name', length(:'name')", values={"name": value}) == [
        [value, str(len(value))]
    ]


def test_null_is_none(config: ClusterConfig) -> None:
    rows = query(config, "SELECT * FROM (VALUES (1, NULL), (NULL, ''), (2, 'x')) AS v ORDER BY 1")
    assert rows == [["1", None], ["2", "x"], [None, ""]]


def test_no_rows_and_no_result(config: ClusterConfig) -> None:
    assert query(config, "SELECT 1 WHERE false") == []
    assert query(config, "SET work_mem = '1MB'") == []


def test_a_comment_at_the_end_and_a_semicolon(config: ClusterConfig) -> None:
    assert query(config, "SELECT 1 -- one") == [["1"]]
    assert query(config, "SELECT 1 ; ") == [["1"]]


def test_an_identifier(server: Cluster, config: ClusterConfig) -> None:
    server.sql('CREATE TABLE public."odd ""name" (a int)')
    rows = query(config, 'SELECT count(*) FROM public.:"table"', values={"table": 'odd "name'})
    assert rows == [["0"]]


def test_times_are_in_utc(config: ClusterConfig) -> None:
    rows = query(config, "SELECT '2026-11-21 03:04:05 Asia/Tokyo'::timestamptz")
    assert rows == [["2026-11-20 18:04:05+00"]]


def test_objects_of_others_are_not_used_by_mistake(server: Cluster, config: ClusterConfig) -> None:
    server.sql("CREATE FUNCTION public.now() RETURNS text LANGUAGE sql AS 'SELECT ''tricked'''")
    assert query(config, "SELECT pg_typeof(now())") == [["timestamp with time zone"]]


def test_another_database_and_another_role(server: Cluster, config: ClusterConfig) -> None:
    assert query(config, "SELECT current_database()", database="template1") == [["template1"]]
    assert query(config, "SELECT current_user", user="dbkeeper") == [["dbkeeper"]]


@pytest.mark.parametrize(
    ("statement", "sqlstate", "word"),
    [
        ("SELECT * FROM nowhere", "42P01", 'relation "nowhere" does not exist'),
        ("SELEC 1", "42601", "syntax error"),
        ("SELECT 1/0", "22012", "division by zero"),
    ],
)
def test_errors_have_their_sqlstate(config: ClusterConfig, statement: str, sqlstate: str, word: str) -> None:
    with pytest.raises(Failed) as caught:
        query(config, statement)
    assert caught.value.code == "sql-failed"
    assert caught.value.details["sqlstate"] == sqlstate
    assert word in caught.value.happened


def test_a_statement_that_takes_too_long_is_ended_by_the_server(config: ClusterConfig) -> None:
    begun = time.monotonic()
    with pytest.raises(Failed) as caught:
        query(config, "SELECT pg_sleep(60)", timeout=0.5)
    assert caught.value.details["sqlstate"] == "57014"
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"port": 1}, "port 1"),
        ({"database": "nowhere"}, 'database "nowhere" does not exist'),
        ({"user": "nobody_here"}, "nobody_here"),
        ({"socket_directory": "/nowhere"}, "/nowhere"),
    ],
)
def test_no_connection(config: ClusterConfig, changes: dict[str, Any], word: str) -> None:
    with pytest.raises(Failed) as caught:
        query(config, "SELECT 1", **changes)
    assert caught.value.code == "server-unreachable"
    assert word in caught.value.happened


def test_answers(config: ClusterConfig) -> None:
    assert answers(config)
    assert not answers(config, port=1)


def test_psycopg(server: Cluster) -> None:
    options = {
        "login_unix_socket": str(server.socket_directory),
        "login_port": server.port,
        "login_user": "postgres",
    }
    with sql.connect(options, statement_timeout_seconds=7, lock_timeout_seconds=3) as connection:
        settings = ("statement_timeout", "lock_timeout", "application_name")
        found = [
            sql.rows(connection, "SELECT current_setting(%s)", (name,), attempted="ask")[0][0]
            for name in settings
        ]
        assert found == ["7s", "3s", "dbkeeper"]
        with pytest.raises(Failed) as caught:
            sql.rows(connection, "SELECT 1/0", attempted="ask")
        assert caught.value.details["sqlstate"] == "22012"


def test_psycopg_without_a_server(server: Cluster) -> None:
    options = {"login_unix_socket": "/nowhere", "login_password": "hidden"}
    with pytest.raises(Refused) as caught:
        sql.connect(options)
    assert caught.value.code == "server-unreachable"
    assert "hidden" not in str(caught.value.to_dict())


@pytest.mark.parametrize(
    ("module", "code"), [(None, "psycopg-missing"), (SimpleNamespace(__version__="3.0.8"), "psycopg-too-old")]
)
def test_psycopg_missing_or_too_old(monkeypatch: pytest.MonkeyPatch, module: Any, code: str) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psycopg", module)
    with pytest.raises(Refused) as caught:
        sql.connect({})
    assert caught.value.code == code
    assert "python3-psycopg" in caught.value.remedy


def test_an_extension_is_made_once(config: ClusterConfig, server: Cluster) -> None:
    server.sql("CREATE DATABASE extended")
    planned = ensure_extension(config, "citext", "extended", check=True)
    assert (planned["changed"], planned["executed"]) == (True, False)
    found = "SELECT nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'citext'"
    assert server.sql(found, database="extended") == []
    assert ensure_extension(config, "citext", "extended", check=False)["plan"] == planned["plan"]
    assert server.sql(found, database="extended") == [("public",)]
    assert ensure_extension(config, "citext", "extended", check=False)["changed"] is False
    with pytest.raises(Failed, match="no_such_extension"):
        ensure_extension(config, "no_such_extension", "extended", check=False)
