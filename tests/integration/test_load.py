# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Loading a dump: beside and swapped, into what is there, twice, killed at every step, and back again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from .harness.cluster import Cluster
from .harness.sandbox import Sandbox

APP = (
    "CREATE ROLE app_owner",
    "CREATE ROLE reader",
    "CREATE TYPE mood AS ENUM ('sad', 'ok')",
    "CREATE TABLE items (id serial PRIMARY KEY, name text NOT NULL, m mood DEFAULT 'ok')",
    "INSERT INTO items (name) SELECT 'item ' || n FROM generate_series(1, 500) AS n",
    "CREATE INDEX items_name ON items (name)",
    "CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, item int REFERENCES items, n int)",
    "INSERT INTO orders (item, n) SELECT n, n FROM generate_series(1, 300) AS n",
    "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "CREATE TRIGGER touched BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch()",
    'CREATE SCHEMA "od.d"',
    'CREATE TABLE "od.d"."表 と\nline" (id int, "va""lue" text)',
    'INSERT INTO "od.d"."表 と\nline" SELECT n, \'値\' || n FROM generate_series(1, 30) AS n',
    "ALTER TABLE items OWNER TO app_owner",
    "GRANT SELECT ON items TO reader",
    "COMMENT ON TABLE items IS 'what is sold'",
    "SELECT lo_from_bytea(4711, 'large'::bytea)",
)
#: A database whose name tries everything.
ODD = 'it\'s "odd"\n顧客=x %'


def name_of(database: str) -> psycopg.sql.Composable:
    return psycopg.sql.Identifier(database)


def dsn(cluster: Cluster, database: str) -> str:
    return psycopg.conninfo.make_conninfo(cluster.dsn(), dbname=database)


def within(cluster: Cluster, database: str, *statements: str) -> list[tuple[Any, ...]]:
    """Statements in a database of any name; the rows of the last one."""
    with psycopg.connect(dsn(cluster, database), autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def make_app(cluster: Cluster, database: str = "app") -> Cluster:
    with cluster.connect() as connection:
        connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(name_of(database)))
    within(cluster, database, *APP)
    return cluster


def databases(cluster: Cluster) -> list[str]:
    rows = cluster.sql(
        "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres' ORDER BY 1"
    )
    return [row[0] for row in rows]


def open_databases(cluster: Cluster) -> list[tuple[str, bool, int]]:
    return cluster.sql(
        "SELECT datname, datallowconn, datconnlimit FROM pg_database"
        " WHERE NOT datistemplate AND datname <> 'postgres' ORDER BY 1"
    )


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """Databases app and the odd one, each with a dump; app's are called c, d and p by their formats."""
    sandbox = Sandbox()
    cluster = make_app(Cluster(sandbox, "main", archiving=False).start())
    for label, options in (
        ("c", ["--format", "custom"]),
        ("d", ["--format", "directory", "--jobs", "2"]),
        ("p", ["--format", "plain"]),
    ):
        cluster.keeper("dump", "--database", "app", "--label", label, "--rows", "digest", *options).expect()
    yield cluster
    sandbox.close()


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


def test_errors_are_counted_and_fail_unless_accepted(
    server: Cluster, make_cluster: Callable[..., Cluster]
) -> None:
    """The dump's roles are not on this host: pg_restore would call 'errors ignored on restore' a warning."""
    other = make_cluster("other", archiving=False, repository=server.repository)
    other.write_config(cluster="main")
    options = ["c", "--database", "app"]
    other.keeper("load", *options).refused("roles-missing", "app_owner", "--globals")
    other.sql("CREATE ROLE app_owner")
    error = other.keeper("load", *options).failed("load-failed", 'role "reader" does not exist')
    assert error["details"]["count"] == 1
    assert databases(other) == []
    done = other.keeper("load", *options, "--accept-error", 'role "reader" does not exist').expect()
    assert len(done["load"]["accepted_errors"]) == 1
    other.sql("DROP DATABASE app")
    mapped = other.keeper(
        "load", *options, "--owner", "app_owner=postgres", "--owner", "reader=pg_monitor"
    ).expect()
    assert mapped["load"]["proven"]
    acl = "SELECT pg_get_userbyid(relowner), relacl::text FROM pg_class WHERE relname = 'items'"
    superuser = other.value("SELECT current_user")
    assert superuser == "postgres"
    assert within(other, "app", acl) == [("postgres", "{postgres=arwdDxt/postgres,pg_monitor=r/postgres}")]
    other.sql("DROP DATABASE app")
    other.sql("DROP ROLE app_owner")
    done = other.keeper("load", *options, "--globals").expect()
    assert sorted(done["load"]["roles"]) == ["app_owner", "reader"]
    assert within(other, "app", acl)[0][0] == "app_owner"


def test_the_steps_are_the_journals_own(server: Cluster) -> None:
    """Those that are killed below are all that there are."""
    server.sql("CREATE DATABASE journalled")
    options = ["c", "--database", "app", "--into", "journalled", "--replace", "--confirm", "journalled"]
    passed = len(server.steps())
    server.keeper("load", *options).expect()
    load = server.steps()[passed:]
    server.keeper("load", "--undo", "--into", "journalled", "--confirm", "journalled").expect()
    undo = server.steps()[passed + len(load) :]
    assert load == [f"{step}:{status}" for step in ("globals", *STEPS) for status in ("begun", "done")]
    assert undo == [f"{step}:{status}" for step in UNDO_STEPS for status in ("begun", "done")]


STEPS = ("create", "restore", "analyze", "prove", "record", "close", "swap", "open")
UNDO_STEPS = ("close", "swap", "open")


@pytest.mark.parametrize(
    ("again", "steps"),
    [
        pytest.param(True, ("close",), id="again"),
        pytest.param(False, ("prove",), id="undo"),
        pytest.param(True, STEPS, id="again, every step", marks=pytest.mark.matrix),
        pytest.param(False, STEPS, id="undo, every step", marks=pytest.mark.matrix),
    ],
)
def test_killed_at_every_step(server: Cluster, again: bool, steps: tuple[str, ...]) -> None:
    """Run again, it is finished; given up, what was there is there, and lets people in."""
    server.sql("CREATE DATABASE victim")
    within(server, "victim", "CREATE TABLE old_one (a int)")
    options = ["c", "--database", "app", "--into", "victim", "--replace", "--confirm", "victim", "--again"]
    for step in steps:
        for status in ("begun", "done"):
            assert server.keeper("load", *options, kill_at=f"{step}:{status}").status == -9
            swapped = (step, status) in (("swap", "done"), ("open", "begun"), ("open", "done"))
            if again:
                done = server.keeper("load", *options[:-1]).expect()
                assert not done["executed"] or done["load"]["proof"] == "digest", (step, status)
                assert within(server, "victim", "SELECT count(*) FROM orders") == [(300,)]
                server.keeper("load", "--undo", "--into", "victim", "--confirm", "victim").expect()
            else:
                confirm = ["--confirm", "victim"] if (step, status) == ("open", "done") else []
                given_up = server.keeper("load", "--undo", "--into", "victim", *confirm).expect()
                if swapped and not confirm:
                    # Nothing to give up any more: it is finished, and can be undone.
                    assert given_up["plan"]["action"] == "finish"
                    server.keeper("load", "--undo", "--into", "victim", "--confirm", "victim").expect()
            assert within(server, "victim", "SELECT count(*) FROM old_one") == [(0,)], (step, status)
            closed = [one for one in open_databases(server) if one[1:] != (True, -1)]
            assert not [one for one in closed if not one[0].startswith("shop")], (step, status)
            assert not [name for name in databases(server) if name.startswith("dbkeeper_load")]
            for name in databases(server):
                if name.startswith("victim_"):
                    server.sql(f'DROP DATABASE "{name}" WITH (FORCE)')
    server.sql("DROP DATABASE victim WITH (FORCE)")


@pytest.mark.parametrize(
    "moments",
    [
        pytest.param((("swap", "renamed"),), id="a slice"),
        pytest.param(
            [(step, status) for step in UNDO_STEPS for status in ("begun", "done")],
            id="every step",
            marks=pytest.mark.matrix,
        ),
    ],
)
def test_an_undo_killed_at_every_step(
    server: Cluster, cell: Callable[..., None], moments: list[tuple[str, str]]
) -> None:
    """Run again, it is done; run once more, there is nothing to do."""
    undo = ["--undo", "--into", "back", "--confirm", "back"]
    for step, status in moments:
        server.sql("CREATE DATABASE back CONNECTION LIMIT 9")
        within(server, "back", "CREATE TABLE old_one (a int)")
        options = ["c", "--database", "app", "--into", "back", "--replace", "--confirm", "back"]
        kept = server.keeper("load", *options).expect()["load"]["kept"]
        at = "begun" if status == "renamed" else status
        assert server.keeper("load", *undo, kill_at=f"{step}:{at}").status == -9
        if status == "renamed":
            # Killed after the server had committed both names, before the journal said so.
            journal = json.loads((server.state_directory / "load.journal.json").read_text())
            aside = journal["data"]["kept"]
            server.sql(f'ALTER DATABASE back RENAME TO "{aside}"')
            server.sql(f'ALTER DATABASE "{kept}" RENAME TO back')
        done = server.keeper("load", *undo).expect()
        assert (done["changed"], done["plan"]["action"]) == (True, "undo"), (step, status)
        assert within(server, "back", "SELECT count(*) FROM old_one") == [(0,)], (step, status)
        aside = done["plan"]["put_aside"]
        assert within(server, aside, "SELECT count(*) FROM orders") == [(300,)]
        mine = [one for one in open_databases(server) if one[0].startswith("back")]
        assert mine == [("back", True, 9), (aside, True, 9)], (step, status)
        again = server.keeper("load", *undo).expect()
        assert (again["changed"], again["plan"]["put_aside"]) == (False, aside)
        for name in ("back", aside):
            server.sql(f'DROP DATABASE "{name}" WITH (FORCE)')
        cell(step=step, status=status, operation="load --undo")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["nothing", "--database", "app"], "dump-unknown"),
        (["--database", "nothing"], "dump-unknown"),
        ([], "request-contradictory"),
        (["c", "--database", "app", "--table", "items"], "table-malformed"),
        (["c", "--database", "app", "--into", "x", "--table", "public.nothing"], "nothing-chosen"),
        (["p", "--database", "app", "--into", "x", "--table", "public.items"], "dump-cannot-be-chosen-from"),
        (
            ["c", "--database", "app", "--into", "x", "--schema", "public", "--content", "data"],
            "load-target-missing",
        ),
        (["c", "--database", "app", "--accept-error", "("], "pattern-malformed"),
        (["c", "--database", "app", "--owner", "x"], "role-mapping-malformed"),
        (["--undo", "--into", "app", "--confirm", "app"], "nothing-to-undo"),
    ],
)
def test_refused_before_anything_is_touched(server: Cluster, options: list[str], code: str) -> None:
    before = databases(server)
    server.keeper("load", *options).refused(code)
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


def test_what_failed_is_removed_also_with_a_subscription_in_it(server: Cluster) -> None:
    """A database with a subscription cannot be dropped: what was loaded would stay, and be in every load's way."""
    server.sql("CREATE DATABASE told")
    within(
        server,
        "told",
        "CREATE TABLE t AS SELECT 1 AS n",
        "CREATE SUBSCRIPTION odd_one CONNECTION 'host=far.example.org' PUBLICATION p WITH (connect = false)",
        "CREATE FUNCTION fails() RETURNS int LANGUAGE plpgsql AS $$ BEGIN"
        " IF current_database() <> 'told' THEN RAISE 'not here'; END IF; RETURN 1; END $$",
        "CREATE MATERIALIZED VIEW v AS SELECT fails()",
    )
    server.keeper("dump", "--database", "told", "--label", "told").expect()
    for _again in range(2):
        server.keeper("load", "told", "--database", "told", "--into", "there").failed(
            "load-failed", "not here"
        )
        assert not [one for one in databases(server) if one.startswith("dbkeeper_load_") or one == "there"]
    taken = ("--exclude", "MATERIALIZED VIEW*")
    server.keeper("load", "told", "--database", "told", "--into", "there", *taken).expect()
    loaded = "SELECT subname, subenabled FROM pg_subscription JOIN pg_database AS d ON d.oid = subdbid"
    assert within(server, "there", f"{loaded} WHERE d.datname = 'there'") == [("odd_one", False)]
    for name in ("told", "there"):
        within(server, name, "ALTER SUBSCRIPTION odd_one SET (slot_name = NONE)", "DROP SUBSCRIPTION odd_one")
        server.sql(f"DROP DATABASE {name}")
