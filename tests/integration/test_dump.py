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
from .harness.installation import installations

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


CASES = [
    ("custom", ODD),
    ("directory", ODD),
    ("plain", ODD),
    ("custom", "app"),
    ("directory", "app"),
    ("plain", "app"),
]


@pytest.mark.parametrize(
    ("how", "database"),
    [pytest.param(*case, marks=pytest.mark.matrix if case[1] == "app" else ()) for case in CASES],
    ids=[f"{how}-{'odd' if database == ODD else database}" for how, database in CASES],
)
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
    assert record["warnings"] == []
    assert rows_of(record) == ROWS
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


@pytest.mark.matrix
@pytest.mark.parametrize("major", sorted(installations()))
@pytest.mark.parametrize("how", ["custom", "directory", "plain"])
def test_every_version(
    make_cluster: Callable[..., Cluster], major: int, how: str, cell: Callable[..., None]
) -> None:
    cell(major=major, dump=how)
    cluster = fill(make_cluster(archiving=False, installation=installations()[major]))
    made = cluster.keeper("dump", "--database", "app", "--format", how).expect(0)["dumps"][0]["dump"]
    record = entry(cluster, "app", made["label"])
    zstd = major >= 16 or how == "plain"
    assert (record["major"], record["compression"]) == (major, "zstd:3" if zstd else "gzip:1")
    assert (rows_of(record), record["warnings"]) == (ROWS, [])


def test_what_satisfies_a_request_and_what_does_not(make_cluster: Callable[..., Cluster]) -> None:
    cluster = fill(make_cluster(archiving=False))
    here = ("--database", "app")
    done = cluster.keeper(
        "dump", *here, "--label", "before-42", "--table", "plain", "--rows", "digest"
    ).expect(0)
    made = done["dumps"][0]["dump"]
    assert (made["label"], made["contents"], made["rows"]) == (
        "before-42",
        3,
        {"tables": 1, "rows": 2000, "digested": 1},
    )
    with cluster.unchanged():
        again = cluster.keeper(
            "dump", *here, "--label", "before-42", "--table", "plain", "--rows", "digest"
        ).expect(0)
        assert (again["changed"], again["dumps"][0]["dump"]["key"]) == (False, made["key"])
        cluster.keeper("dump", *here, "--label", "before-42").refused("dump-label-taken", "before-42")
    # A dump of one table is no dump of the database, however young.
    whole = cluster.keeper("dump", *here, "--max-age", "1h").expect(0)
    assert whole["changed"]
    assert not cluster.keeper("dump", *here, "--max-age", "1h").expect(0)["changed"]
    schema = cluster.keeper("dump", *here, "--max-age", "1h", "--content", "schema").expect(0)
    assert (
        schema["dumps"][0]["dump"]["series"] == "schema" and schema["dumps"][0]["dump"]["rows"]["tables"] == 0
    )
    other = cluster.keeper(
        "dump", *here, "--exclude-table", "plain", "--schema", "public", "--content", "data"
    )
    record = entry(cluster, "app", other.expect(0)["dumps"][0]["dump"]["label"])
    assert rows_of(record) == {"public.empty": 0, "public.parted_1": 100}
    known = cluster.keeper("info").expect(0)["dumps"]
    assert [one["sequence"] for one in known] == [1, 2, 3, 4]
    assert {one["status"] for one in known} == {"verified"}


def test_what_cannot_be_dumped_is_refused_and_nothing_changes(make_cluster: Callable[..., Cluster]) -> None:
    cluster = fill(make_cluster(archiving=False))
    with cluster.unchanged():
        cluster.keeper("dump", "--database", "apq").refused("database-unknown", "Did you mean 'app'?")
        cluster.keeper("dump", "--database", "template0").refused("database-closed")
        cluster.keeper("dump").refused("dump-unknown", "--database")
        cluster.keeper("dump", "nightly").refused("dump-unknown", "nightly")
        cluster.keeper("dump", "--database", "app", "--compression", "zstd:99").refused("compression-unknown")
        cluster.keeper("dump", "--database", "app", "--jobs", "2").refused("request-contradictory", "custom")
    cluster.stop()
    with cluster.unchanged():
        cluster.keeper("dump", "--database", "app").refused("server-not-running")


def test_dumps_of_the_description(make_cluster: Callable[..., Cluster]) -> None:
    cluster = fill(make_cluster(archiving=False))
    cluster.write_config(
        dumps=[
            {"label": "gone", "database": "vanished"},
            {"label": "app", "database": "app", "format": "plain", "max_age_seconds": 3600, "globals": False},
            {"label": "shape", "database": "app", "content": "schema", "max_age_seconds": 3600},
        ],
        dump_retention={"daily": 1, "weekly": 0, "monthly": 0},
    )
    done = cluster.keeper("dump").expect(3)
    assert done["dumps"][0]["error"]["code"] == "database-unknown"
    assert [one["changed"] for one in done["dumps"]] == [False, True, True]
    assert [one["dump"]["series"] for one in done["dumps"][1:]] == ["app", "shape"]
    assert not cluster.keeper("dump", "app", "shape").expect(0)["changed"]
    cluster.write_config(dumps=[{"label": "app", "database": "app", "colour": "red"}])
    cluster.keeper("dump").refused("config-malformed", "dumps[0].colour")


def test_the_keepers_own_role_dumps_without_passwords(make_cluster: Callable[..., Cluster]) -> None:
    cluster = fill(make_cluster(archiving=False))
    refused = cluster.keeper("dump", "--database", "app", "--user", "dbkeeper").failed("dump-failed")
    assert "permission denied" in refused["happened"]
    cluster.sql("CREATE ROLE secret LOGIN PASSWORD 'hidden'")
    cluster.sql("GRANT pg_read_all_data TO dbkeeper")
    with cluster.connect("app") as connection:
        # Large objects are not among what pg_read_all_data reads before PostgreSQL 19.
        connection.execute("SELECT lo_unlink(oid) FROM pg_largeobject_metadata")
    made = cluster.keeper("dump", "--database", "app", "--user", "dbkeeper").expect(0)["dumps"][0]["dump"]
    assert made["warnings"] == ["the role that dumps is no superuser: globals are without passwords"]
    told = (shelf(cluster) / "app" / made["label"] / "globals.sql").read_text()
    assert "secret" in told and "PASSWORD" not in told


def test_generations_of_real_dumps_expire(make_cluster: Callable[..., Cluster]) -> None:
    cluster = fill(make_cluster(archiving=False))
    for number in range(4):
        cluster.keeper("dump", "--database", "app", "--label", f"d{number}", "--rows", "none").expect(0)
    # Of one day each, as if four days had passed; the entry is what counts, and the last one's clock leapt back.
    for number, day in enumerate((1, 2, 3, 1)):
        path = shelf(cluster) / "app" / f"d{number}" / "dump.json"
        value = json.loads(path.read_text())
        value["started_at"] = value["stopped_at"] = f"2026-11-0{day}T03:00:00.000000Z"
        path.write_text(json.dumps(value))
    cluster.keeper("pin", "dump/app/d0").expect(0)
    rules = ("--dumps", "daily=2")
    with cluster.unchanged():
        plan = cluster.keeper("expire", "--dry-run", *rules).expect(0)
    fates = {one["label"]: (one["action"], one["why"]) for one in plan["plan"]["dumps"]}
    assert fates == {
        "d0": ("keep", "pinned"),
        "d1": ("expire", "outside"),
        "d2": ("keep", "daily"),
        "d3": ("keep", "newest"),
    }
    assert plan["plan"]["blocked"] == [{"what": "dump/app/d0", "why": "pinned", "by": []}]
    done = cluster.keeper("expire", *rules).expect(0)
    assert done["deleted"]["dumps"] == ["dump/app/d1"] and done["deleted"]["freed_bytes"] > 0
    assert sorted(os.listdir(shelf(cluster) / "app")) == ["d0", "d2", "d3"]
    with cluster.unchanged():
        assert not cluster.keeper("expire", *rules).expect(0)["changed"]
    cluster.keeper("expire", "--dumps", "daily=x").refused("retention-invalid", "daily=x")
