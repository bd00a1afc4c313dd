# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Rows that were loaded are held against the dump's record: as many, the same, of the very files that were written."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from .harness.cluster import Cluster
from .load_help import databases, dumped, within


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """Database app with a dump in each format."""
    yield from dumped()


def test_rows_that_are_not_those_of_the_dump_change_nothing(server: Cluster) -> None:
    server.sql("CREATE DATABASE tricked")
    within(
        server,
        "tricked",
        "CREATE TYPE mood AS ENUM ('sad', 'ok')",
        "CREATE TABLE items (id serial PRIMARY KEY, name text NOT NULL, m mood)",
        "CREATE FUNCTION less() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN IF NEW.id = 77 THEN NEW.name = ''other''; END IF; RETURN NEW; END'",
        "CREATE TRIGGER less BEFORE INSERT ON items FOR EACH ROW EXECUTE FUNCTION less()",
    )
    options = ["c", "--database", "app", "--into", "tricked", "--content", "data", "--table", "public.items"]
    # By number it is the same: what was proven is said, also in the database's own record.
    counted = [*options, "--proof", "count", "--again"]
    done = server.keeper("load", *counted).expect()
    assert (done["load"]["proof"], done["load"]["rows"]) == ("count", 500)
    ((record,),) = within(server, "tricked", "SELECT current_setting('dbkeeper.loads')")
    assert json.loads(record)[-1]["proof"] == "count"
    within(server, "tricked", "TRUNCATE items")
    server.sql("ALTER DATABASE tricked RESET dbkeeper.loads")
    error = server.keeper("load", *options).failed("load-rows-differ", "public.items")
    (difference,) = error["details"]["differences"]
    assert difference["expected"]["rows"] == difference["found"]["rows"] == 500
    assert within(server, "tricked", "SELECT count(*) FROM items") == [(0,)]
    within(server, "tricked", "ALTER TABLE items DISABLE TRIGGER less")
    assert server.keeper("load", *options).expect()["load"]["proven"]


def test_rows_are_counted_or_digested_as_asked(server: Cluster) -> None:
    """Also where they differ in number only; what a dump has not recorded is not taken as proven."""
    app = ["--database", "app"]
    counted = server.keeper("dump", *app, "--label", "counted", "--rows", "count").expect()["dumps"][0]
    assert (counted["plan"]["rows"], counted["dump"]["rows"]["digested"]) == ("count", 0)
    assert counted["dump"]["rows"]["rows"] == 831
    bare = server.keeper("dump", *app, "--label", "bare", "--rows", "none").expect()["dumps"][0]
    assert bare["dump"]["rows"] == {"tables": 0, "rows": 0, "digested": 0}
    before = databases(server)
    for label in ("counted", "bare"):
        options = [label, *app, "--into", "by_number"]
        error = server.keeper("load", *options, "--proof", "digest").refused("dump-without-digests")
        assert ("public.items" in error["happened"]) == (label == "counted")
        assert databases(server) == before
        done = server.keeper("load", *options).expect()
        assert done["load"]["proof"] == {"counted": "count", "bare": "none"}[label]
        assert done["load"]["proven"] is (label == "counted")
        server.sql("DROP DATABASE by_number")
    record = server.repository / "main" / "dump" / "app" / "counted" / "dump.json"
    entry = json.loads(record.read_text())
    entry["rows"]["public.items"]["rows"] = 501
    record.write_text(json.dumps(entry))
    server.keeper("load", *options[1:3], "--into", "x", "counted").failed("load-rows-differ", "public.items")
    assert databases(server) == before


def test_a_damaged_dump_is_not_loaded(server: Cluster) -> None:
    made = server.keeper("dump", "--database", "app", "--label", "rotten").expect()
    (path,) = (server.repository / "main" / "dump" / "app" / "rotten").glob("dump.custom")
    data = bytearray(path.read_bytes())
    data[-200] ^= 1
    path.chmod(0o640)
    path.write_bytes(bytes(data))
    assert made["changed"]
    server.keeper("load", "rotten", "--database", "app", "--into", "rot").failed(
        "dump-file-damaged", "digest"
    )
    assert "rot" not in databases(server)
