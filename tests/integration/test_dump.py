# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Dumps of real databases: what is written, what is recorded of it, and what a second run does."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg.sql
import pytest

from .harness.cluster import Cluster

#: As odd as PostgreSQL allows.
ODD = 'it\'s "odd"\n顧客/データ=x %'


def shelf(cluster: Cluster) -> Path:
    """Where all dumps are."""
    return cluster.seen(cluster.repository) / cluster.name / "dump"


def entry(cluster: Cluster, database: str, label: str) -> dict[str, Any]:
    """A dump's own record."""
    path = shelf(cluster) / quote(database, safe="") / label / "dump.json"
    value = json.loads(path.read_text())
    assert isinstance(value, dict)
    return value


def fill(cluster: Cluster, database: str = "app") -> Cluster:
    """A database with a few tables, one of them with odd names, one partitioned, one empty."""
    with cluster.connect() as connection:
        connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(database)))
    with psycopg.connect(
        psycopg.conninfo.make_conninfo(cluster.dsn(), dbname=database), autocommit=True
    ) as connection:
        for statement in (
            "CREATE TABLE plain (id int PRIMARY KEY, text text)",
            "INSERT INTO plain SELECT n, repeat(md5(n::text), 3) FROM generate_series(1, 2000) AS n",
            "CREATE TABLE empty (id int)",
            'CREATE SCHEMA "od.d ""schema"""',
            'CREATE TABLE "od.d ""schema"""."表 と\nline" (id int, "va""lue" text)',
            'INSERT INTO "od.d ""schema"""."表 と\nline" SELECT n, \'値\' || n FROM generate_series(1, 30) AS n',
            "CREATE TABLE parted (id int) PARTITION BY RANGE (id)",
            "CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100)",
            "INSERT INTO parted SELECT generate_series(0, 99)",
            "SELECT lo_from_bytea(0, 'large'::bytea)",
        ):
            connection.execute(statement.encode())
    return cluster


ROWS = {
    "public.plain": 2000,
    "public.empty": 0,
    '"od.d ""schema"""."表 と\nline"': 30,
    "public.parted_1": 100,
    "pg_catalog.pg_largeobject": 1,
}


def rows_of(record: dict[str, Any]) -> dict[str, int]:
    """Table -> rows, as recorded."""
    return {name: item["rows"] for name, item in record["rows"].items()}


@pytest.mark.parametrize("database", ["app", ODD], ids=["app", "odd"])
@pytest.mark.parametrize("how", ["custom", "directory", "plain"])
def test_a_dump_is_whole_listed_and_recorded(
    make_cluster: Callable[..., Cluster], how: str, database: str
) -> None:
    cluster = fill(make_cluster(archiving=False), database)
    argv = ("--database", database, "--format", how, *(("--jobs", "2") if how == "directory" else ()))
    with cluster.unchanged():
        plan = cluster.keeper("dump", *argv, "--check").expect(0)
    assert (plan["changed"], plan["executed"], plan["dumps"][0]["dump"]) == (True, False, {})
    done = cluster.keeper("dump", *argv).expect(0)
    made = done["dumps"][0]["dump"]
    record = entry(cluster, database, made["label"])
    assert (record["status"], record["database"], record["format"]) == ("verified", database, how)
    assert record["warnings"] == ([] if how != "plain" else record["warnings"])
    expected = dict(ROWS)
    if how == "plain" and record["warnings"]:
        expected.pop('"od.d ""schema"""."表 と\nline"')
    assert rows_of(record) == expected
    directory = shelf(cluster) / quote(database, safe="") / made["label"]
    assert sorted(os.listdir(directory)) == sorted(["dump.json", "globals.sql", record["data"]])
    for file in record["files"]:
        data = (directory / file["name"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file["stored_bytes"], file["digest"])
    assert stat.S_IMODE((directory / "globals.sql").stat().st_mode) == 0o600
    assert "CREATE ROLE" in (directory / "globals.sql").read_text()
    if how != "plain":
        listed = cluster.program("pg_restore", "--list", str(directory / record["data"]))
        entries = [line for line in listed.splitlines() if line and not line.startswith(";")]
        assert made["contents"] == len(entries)
    # The key is what leases and people call it by.
    assert made["key"] == f"dump/{quote(database, safe='')}/{made['label']}"
