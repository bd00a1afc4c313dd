# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Roles from globals, owners by another name, names that fit, tables with what belongs to them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.logical.contents import Contents, Entry
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.logical.load_again import (
    identity_of,
    recorded,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.logical.load_globals import (
    missing_roles,
    statements,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.logical.load_plan import name_after
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.logical.load_request import LoadRequest
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.logical.load_state import DatabaseState
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.logical.owners import (
    owner_sql,
    privilege_sql,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.dumps import Dump, DumpFile
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.selection import Selection

NOW = datetime(2026, 11, 21, 3, 15, tzinfo=timezone.utc)
GLOBALS = r"""
-- Roles
\restrict abc
SET default_transaction_read_only = off;
CREATE ROLE app;
ALTER ROLE app WITH LOGIN PASSWORD 'SCRAM-SHA-256$4096:a;b';
CREATE ROLE "owner one";
ALTER ROLE "owner one" WITH NOLOGIN;
ALTER ROLE "owner one" SET search_path TO 'a;b', public;
COMMENT ON ROLE "owner one" IS 'it''s; a
comment';
CREATE ROLE postgres;
ALTER ROLE postgres WITH SUPERUSER;
GRANT app TO "owner one" WITH ADMIN OPTION GRANTED BY postgres;
GRANT app TO postgres GRANTED BY postgres;
GRANT stranger TO "owner one";
CREATE TABLESPACE fast OWNER postgres LOCATION '/fast';
"""


def entry(number: int, kind: str, name: str, *needs: int, schema: str = "public", **more: str) -> Entry:
    return Entry(
        number,
        kind,
        schema,
        name,
        more.get("owner", "app"),
        more.get("definition", ""),
        more.get("removal", ""),
        frozenset(needs),
    )


def test_roles_that_are_there_stay_as_they_are() -> None:
    made, script = missing_roles(GLOBALS, {"postgres", "app"})
    assert made == ["owner one"]
    assert list(statements(script)) == [
        'CREATE ROLE "owner one"',
        'ALTER ROLE "owner one" WITH NOLOGIN',
        "ALTER ROLE \"owner one\" SET search_path TO 'a;b', public",
        "COMMENT ON ROLE \"owner one\" IS 'it''s; a\ncomment'",
        'GRANT app TO "owner one" WITH ADMIN OPTION GRANTED BY postgres',
    ]
    assert missing_roles(GLOBALS, {"postgres", "app", "owner one"}) == ([], "")


@pytest.mark.parametrize("name", ["app", "a" * 63, "顧客" * 10, "x" * 62 + "é"])
def test_a_name_beside_another_fits_and_is_no_half_letter(name: str) -> None:
    made = name_after(name, "before", NOW)
    assert made.endswith("_before_20261121T031500Z")
    assert len(made.encode()) <= 63
    assert name.startswith(made[: -len("_before_20261121T031500Z")])


def test_a_table_comes_with_what_belongs_to_it_and_nothing_else() -> None:
    contents = Contents(
        (
            entry(1, "TABLE", "orders"),
            entry(2, "TABLE", "items"),
            entry(3, "TABLE DATA", "orders", 1),
            entry(4, "INDEX", "by_n", 1),
            entry(5, "CONSTRAINT", "items items_pkey", 2),
            entry(6, "FK CONSTRAINT", "orders to_items", 1, 5),
            entry(7, "FK CONSTRAINT", "other to_orders", 4, 9),
            entry(8, "VIEW", "over", 1),
            entry(9, "TABLE", "other"),
            entry(10, "SEQUENCE", "orders_id_seq"),
            entry(11, "SEQUENCE OWNED BY", "orders_id_seq", 10, 1),
            entry(12, "SEQUENCE SET", "orders_id_seq", 10),
            entry(13, "TRIGGER", "orders touched", 1),
        )
    )
    assert [one.number for one in contents.choose(tables=["public.orders"])] == [1, 3, 4, 6, 10, 11, 12, 13]
    assert [one.number for one in contents.choose(tables=["public.items"])] == [2, 5]
    left = contents.choose(tables=["public.orders"], exclude=["TRIGGER * orders *", "INDEX *"])
    assert [one.number for one in left] == [1, 3, 6, 10, 11, 12]


def test_owners_and_privileges_in_other_roles() -> None:
    table = entry(1, "TABLE", "a", owner="app", removal='DROP TABLE public."A b";\n')
    rights = 'GRANT SELECT ON TABLE public.a TO "rea""der" WITH GRANT OPTION;\nREVOKE ALL ON TABLE public.a FROM app;\n'
    grant = entry(2, "ACL", "TABLE a", 1, definition=rights)
    database = entry(3, "ACL", "DATABASE app", definition="GRANT CONNECT ON DATABASE app TO app;\n")
    roles = {"app": "new app", 'rea"der': "r"}
    assert owner_sql([table, grant], roles) == 'ALTER TABLE public."A b" OWNER TO "new app";\n'
    assert privilege_sql([table, grant, database], roles).split("\n")[:2] == [
        'GRANT SELECT ON TABLE public.a TO "r" WITH GRANT OPTION;',
        'REVOKE ALL ON TABLE public.a FROM "new app";',
    ]


def dumped(*digests: str) -> Dump:
    return Dump(
        database="app",
        label="one",
        series="dump",
        sequence=1,
        status="verified",
        started_at=NOW,
        format="custom",
        selection=Selection(),
        files=tuple(DumpFile(f"f{number}", 1, one) for number, one in enumerate(digests)),
    )


def test_the_same_load_has_the_same_name_and_another_has_another() -> None:
    """How it is proven, how many jobs it has and who confirms it make it no other load."""
    base = LoadRequest(dump="one", database="app")
    names = [
        identity_of(request, dump, target)
        for request, dump, target in (
            (base, dumped("a", "b"), "app"),
            (base, dumped("a", "c"), "app"),
            (base, dumped("a", "b"), "other"),
            (replace(base, tables=("public.t",)), dumped("a", "b"), "app"),
            (replace(base, owners="drop"), dumped("a", "b"), "app"),
            (replace(base, exclude=("X",)), dumped("a", "b"), "app"),
        )
    ]
    assert len(set(names)) == len(names)
    same = replace(base, proof="count", jobs=4, replace=True, confirm="app")
    assert identity_of(same, dumped("b", "a"), "app") == names[0]
    loads = (
        {"identity": "x", "at": "1"},
        {"identity": names[0], "at": "2"},
        {"identity": names[0], "at": "3"},
    )
    database = DatabaseState("app", True, -1, loads)
    assert recorded(database, names[0]) == loads[2]
    assert recorded(database, names[1]) is None
    assert recorded(None, names[0]) is None
