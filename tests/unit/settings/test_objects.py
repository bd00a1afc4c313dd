# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What differs from what is declared: every attribute of every kind, one by one."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.access import DatabaseAccess
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.objects import Declared, judge

VERIFIER = "SCRAM-SHA-256$4096:c2FsdA==$a:b"
ROLE = {
    "name": "app",
    "login": True,
    "superuser": False,
    "createdb": False,
    "createrole": False,
    "replication": False,
    "bypassrls": False,
    "inherit": True,
    "connection_limit": -1,
    "verifier": VERIFIER,
    "valid_until": None,
    "comment": None,
    "settings": None,
}
DATABASE = {
    "name": "shop",
    "owner": "shop_admin",
    "encoding": "UTF8",
    "collate": "C.UTF-8",
    "ctype": "C.UTF-8",
    "connection_limit": -1,
    "tablespace": "pg_default",
    "comment": "the shop",
}
INSIDE = {
    "extensions": [{"name": "hstore", "version": "1.8", "schema": "public", "latest": "1.8"}],
    "indexes": [{"name": "one", "schema": "public", "valid": True}],
}


def found(**changes: Any) -> dict[str, Any]:
    return {
        "roles": [{**ROLE, **changes.get("role", {})}],
        "members": [["readers", "app"]],
        "databases": [{**DATABASE, **changes.get("database", {})}],
    }


def said(
    declared: Declared, state: dict[str, Any], inside: Any = None, groups: Any = None, **instants: str
) -> list[tuple[str, str, str]]:
    result = judge(declared, state, {"shop": INSIDE} if inside is None else inside, groups or {}, instants)
    return [(item.kind, item.name, item.what) for item in result]


def role(**wanted: Any) -> Declared:
    return Declared(roles=[{"name": "app", **wanted}], verifiers={"app": VERIFIER})


def test_what_is_as_declared_differs_in_nothing() -> None:
    everything = Declared(
        roles=[{"name": "app", "member_of": ["readers"]}, {"name": "gone", "state": "absent"}],
        verifiers={"app": VERIFIER},
        databases=[{"name": "shop", "owner": "shop_admin", "encoding": "utf-8", "locale": "C.UTF-8"}],
        extensions=[{"name": "hstore", "database": "shop", "version": "latest", "schema": "public"}],
        indexes=[{"name": "one", "database": "shop", "table": "t", "columns": ["a"]}],
        access=[DatabaseAccess("shop")],
    )
    assert said(everything, found(), groups={"shop": []}) == []


@pytest.mark.parametrize(
    "name", ["login", "superuser", "createdb", "createrole", "replication", "bypassrls", "inherit"]
)
def test_every_attribute_of_a_role_counts_whether_it_was_declared_or_not(name: str) -> None:
    other = not ROLE[name]
    assert said(role(), found(role={name: other})) == [("role", "app", name)]
    assert said(role(**{name: other}), found()) == [("role", "app", name)]
    assert said(role(**{name: other}), found(role={name: other})) == []


@pytest.mark.parametrize(
    ("wanted", "state", "what"),
    [
        ({"connection_limit": 5}, {}, "connection_limit"),
        ({}, {"connection_limit": 5}, "connection_limit"),
        ({}, {"verifier": None}, "password"),
        ({}, {"verifier": VERIFIER + "x"}, "password"),
        ({"settings": {"jit": False}}, {}, "settings"),
        ({"settings": {"jit": False}}, {"settings": ["jit=on"]}, "settings"),
        ({"settings": {}}, {"settings": ["jit=off"]}, "settings"),
        ({"comment": "of the shop"}, {}, "comment"),
        ({"member_of": []}, {}, "member_of"),
        ({"member_of": ["readers", "writers"]}, {}, "member_of"),
        ({"state": "absent"}, {}, "present"),
    ],
)
def test_what_differs_of_a_role_is_named(wanted: dict[str, Any], state: dict[str, Any], what: str) -> None:
    assert said(role(**wanted), found(role=state)) == [("role", "app", what)]


def test_settings_of_a_role_are_compared_as_the_server_keeps_them() -> None:
    wanted = {"statement_timeout": "30s", "jit": False, "geqo_effort": 7}
    kept = ["statement_timeout=30s", "jit=off", "geqo_effort=7"]
    assert said(role(settings=wanted), found(role={"settings": kept})) == []
    assert said(role(), found(role={"settings": kept})) == []


def test_a_role_without_a_password_must_have_none() -> None:
    nobody = Declared(roles=[{"name": "app", "login": False}])
    assert said(nobody, found(role={"login": False})) == [("role", "app", "password")]
    assert said(nobody, found(role={"login": False, "verifier": None})) == []


def test_an_end_of_validity_is_what_the_server_makes_of_it() -> None:
    until = "2030-01-01 00:00:00+00"
    wanted = role(valid_until="2030-01-01")
    assert said(wanted, found(role={"valid_until": until}), **{"2030-01-01": until}) == []
    assert said(wanted, found(), **{"2030-01-01": until}) == [("role", "app", "valid_until")]


@pytest.mark.parametrize(
    ("wanted", "what"),
    [
        ({"owner": "app"}, "owner"),
        ({"tablespace": "fast"}, "tablespace"),
        ({"connection_limit": 10}, "connection_limit"),
        ({"encoding": "LATIN1"}, "encoding"),
        ({"locale": "ja_JP.UTF-8"}, "locale"),
        ({"comment": "another shop"}, "comment"),
        ({"state": "absent"}, "present"),
    ],
)
def test_what_differs_of_a_database_is_named(wanted: dict[str, Any], what: str) -> None:
    assert said(Declared(databases=[{"name": "shop", **wanted}]), found()) == [("database", "shop", what)]


@pytest.mark.parametrize(
    ("wanted", "what"),
    [
        ({"name": "pg_trgm"}, "missing"),
        ({"name": "hstore", "version": "1.7"}, "version"),
        ({"name": "hstore", "schema": "extensions"}, "schema"),
        ({"name": "hstore", "state": "absent"}, "present"),
    ],
)
def test_what_differs_of_an_extension_is_named(wanted: dict[str, Any], what: str) -> None:
    declared = Declared(extensions=[{"database": "shop", **wanted}])
    assert said(declared, found()) == [("extension", wanted["name"], what)]


def test_a_newer_version_of_an_extension_is_seen() -> None:
    inside = copy.deepcopy(INSIDE)
    inside["extensions"][0]["latest"] = "1.9"
    wanted = {"name": "hstore", "database": "shop"}
    assert said(Declared(extensions=[wanted]), found(), {"shop": inside}) == []
    newest = Declared(extensions=[{**wanted, "version": "latest"}])
    assert said(newest, found(), {"shop": inside}) == [("extension", "hstore", "version")]


def test_indexes_that_are_missing_invalid_or_too_many() -> None:
    def index(name: str, **more: Any) -> Declared:
        return Declared(indexes=[{"name": name, "database": "shop", **more}])

    invalid = {"shop": {"extensions": [], "indexes": [{"name": "one", "schema": "public", "valid": False}]}}
    assert said(index("two"), found()) == [("index", "two", "missing")]
    assert said(index("one", schema="other"), found()) == [("index", "one", "missing")]
    assert said(index("one"), found(), invalid) == [("index", "one", "invalid")]
    assert said(index("one", state="absent"), found()) == [("index", "one", "present")]
    assert said(index("two", state="absent"), found()) == []


def test_nothing_is_there_in_a_database_that_is_missing() -> None:
    declared = Declared(
        roles=[{"name": "app"}],
        databases=[{"name": "shop"}],
        extensions=[{"name": "hstore", "database": "shop"}],
        indexes=[{"name": "one", "database": "shop"}],
        access=[DatabaseAccess("shop")],
    )
    nothing = {"roles": [], "members": [], "databases": []}
    assert {what for _kind, _name, what in said(declared, nothing, {})} == {"missing"}
    assert len(said(declared, nothing, {})) == 5


def test_lacks_of_a_group_are_told_as_the_sql_that_is_missing() -> None:
    declared = Declared(access=[DatabaseAccess("shop")])
    plan = ["GRANT CONNECT ON DATABASE shop TO shop_readonly"]
    assert said(declared, found(), groups={"shop": plan}) == [("access", "shop", plan[0])]
