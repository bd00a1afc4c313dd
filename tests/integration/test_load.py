# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Loading a dump: beside and swapped, into what is there, twice, and back again."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from .harness.cluster import Cluster
from .load_help import APP, databases, dumped, name_of, open_databases, within

#: A database whose name tries everything.
ODD = 'it\'s "odd"\n顧客=x %'


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """Database app with a dump in each format."""
    yield from dumped()


@pytest.mark.parametrize("label", ["c", "d", "p"])
def test_into_a_new_database_and_again(server: Cluster, label: str) -> None:
    options = [label, "--database", "app", "--into", f"new_{label}"]
    assert server.keeper("load", *options, "--check").expect()["executed"] is False
    assert f"new_{label}" not in databases(server)
    done = server.keeper("load", *options).expect()
    assert (done["changed"], done["load"]["proven"], done["load"]["rows"]) == (True, True, 831)
    assert done["load"]["proof"] == done["plan"]["proof"] == "digest"
    assert within(server, f"new_{label}", "SELECT count(*), max(name) FROM items") == [(500, "item 99")]
    assert within(server, f"new_{label}", "SELECT nextval('items_id_seq')") == [(501,)]
    owner = "SELECT pg_get_userbyid(relowner), obj_description(oid) FROM pg_class WHERE relname = 'items'"
    assert within(server, f"new_{label}", owner) == [("app_owner", "what is sold")]
    assert (f"new_{label}", True, -1) in open_databases(server)
    again = server.keeper("load", *options).expect()
    assert (again["changed"], again["executed"]) == (False, False)
    assert [name for name in databases(server) if name.startswith("dbkeeper_load")] == []
    server.sql(f"DROP DATABASE new_{label}")


def test_replaced_only_when_confirmed_and_back_again(server: Cluster) -> None:
    server.sql("CREATE DATABASE shop CONNECTION LIMIT 7")
    within(
        server,
        "shop",
        "CREATE TABLE old_one (a int)",
        "ALTER DATABASE shop OWNER TO app_owner",
        'ALTER DATABASE shop SET search_path TO "$user", public, "od.d"',
        "ALTER DATABASE shop SET work_mem TO '5MB'",
        "ALTER ROLE reader IN DATABASE shop SET DateStyle TO 'SQL, DMY'",
        "GRANT CONNECT, TEMP ON DATABASE shop TO reader WITH GRANT OPTION",
        "REVOKE ALL ON DATABASE shop FROM PUBLIC",
        "COMMENT ON DATABASE shop IS 'the shop''s'",
    )
    facts = (
        "SELECT pg_get_userbyid(datdba), (SELECT array_agg(x ORDER BY x) FROM unnest(datacl::text[]) AS x),"
        " datconnlimit, datallowconn, shobj_description(oid, 'pg_database'),"
        " (SELECT json_agg(x ORDER BY x) FROM (SELECT setrole::text || c AS x FROM pg_db_role_setting AS s,"
        "  unnest(setconfig) AS c WHERE setdatabase = d.oid AND c NOT LIKE 'dbkeeper.%') AS i)"
        " FROM pg_database AS d WHERE datname = 'shop'"
    )
    before = server.sql(facts)
    options = ["c", "--database", "app", "--into", "shop"]
    server.keeper("load", *options).refused("load-target-exists", "--replace")
    server.keeper("load", *options, "--replace").refused("load-not-confirmed")
    server.keeper("load", *options, "--replace", "--confirm", "app").refused("load-not-confirmed")
    idle, busy = psycopg.connect(server.dsn("shop"), autocommit=True), psycopg.connect(server.dsn("shop"))
    idle.execute("SELECT 1")
    busy.execute("INSERT INTO old_one VALUES (1)")
    done = server.keeper("load", *options, "--replace", "--confirm", "shop", "--drain-seconds", "1").expect()
    for ended in (idle, busy):
        with pytest.raises(psycopg.OperationalError):
            ended.execute("SELECT 1")
        ended.close()
    kept = done["load"]["kept"]
    assert kept.startswith("shop_before_2")
    assert done["load"]["connections_ended"] >= 2
    assert server.sql(facts) == before
    assert within(server, "shop", "SELECT count(*) FROM orders") == [(300,)]
    assert within(server, kept, "SELECT count(*) FROM old_one") == [(0,)]
    assert server.keeper("load", *options, "--replace", "--confirm", "shop").expect()["changed"] is False
    assert server.keeper("load", "--undo", "--into", "shop", "--check").expect()["executed"] is False
    server.keeper("load", "--undo", "--into", "shop").refused("load-not-confirmed")
    undone = server.keeper("load", "--undo", "--into", "shop", "--confirm", "shop").expect()
    assert within(server, "shop", "SELECT count(*) FROM old_one") == [(0,)]
    assert server.sql(facts) == before
    assert within(server, undone["plan"]["put_aside"], "SELECT count(*) FROM orders") == [(300,)]
    again = server.keeper("load", "--undo", "--into", "shop", "--confirm", "shop").expect()
    assert (again["changed"], again["plan"]["put_aside"]) == (False, undone["plan"]["put_aside"])


def test_odd_names_everywhere(server: Cluster) -> None:
    with server.connect() as connection:
        connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(name_of(ODD)))
    within(server, ODD, *(one for one in APP if not one.startswith("CREATE ROLE")))
    server.keeper("dump", "--database", ODD, "--label", "odd").expect()
    done = server.keeper("load", "--database", ODD, "--replace", "--confirm", ODD).expect()
    assert done["load"]["proven"]
    assert within(server, ODD, 'SELECT count(*) FROM "od.d"."表 と\nline"') == [(30,)]
    table = '"od.d"."表 と\nline"'
    server.sql("CREATE DATABASE part")
    within(server, "part", 'CREATE SCHEMA "od.d"')
    one = server.keeper("load", "odd", "--database", ODD, "--into", "part", "--table", table).expect()
    assert one["load"]["rows"] == 30
    assert within(server, "part", 'SELECT max("va""lue") FROM "od.d"."表 と\nline"') == [("値9",)]


def test_tables_into_a_database_that_stays_in_one_transaction(server: Cluster) -> None:
    server.sql("CREATE DATABASE stays")
    within(server, "stays", "CREATE TABLE mine (a int)")
    options = ["c", "--database", "app", "--into", "stays", "--table", "public.items"]
    error = server.keeper("load", *options).failed("load-failed", 'type "public.mood" does not exist')
    assert error["touched"]
    tables = (
        "SELECT array_agg(relname ORDER BY relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    )
    assert within(server, "stays", tables) == [(["mine"],)]
    within(server, "stays", "CREATE TYPE mood AS ENUM ('sad', 'ok')")
    done = server.keeper("load", *options).expect()
    assert (done["plan"]["action"], done["load"]["rows"]) == ("into", 500)
    assert within(server, "stays", tables) == [
        (["items", "items_id_seq", "items_name", "items_pkey", "mine"],)
    ]
    assert within(server, "stays", "INSERT INTO items (name) VALUES ('x') RETURNING id") == [(501,)]
    assert server.keeper("load", *options).expect()["changed"] is False
    server.keeper("load", *options, "--again").refused("tables-there", "public.items")
    more = ["c", "--database", "app", "--into", "stays", "--table", "public.orders"]
    error = server.keeper("load", *more).failed("load-failed", "touch")
    done = server.keeper("load", *more, "--exclude", "TRIGGER * touched").expect()
    assert within(server, "stays", "SELECT count(*), sum(n) FROM orders") == [(300, 45150)]
    keys = "SELECT conname::text FROM pg_constraint WHERE conrelid = 'orders'::regclass AND contype = 'f'"
    assert within(server, "stays", keys) == [("orders_item_fkey",)]
