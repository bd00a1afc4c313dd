# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Loads that are refused before anything is touched, or in which a statement fails: none leaves anything behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from .harness.cluster import Cluster
from .load_help import databases, dumped, within


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """Database app with a dump in each format."""
    yield from dumped()


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
