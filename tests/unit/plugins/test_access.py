# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""From lists in variables to lines of pg_hba.conf and pg_ident.conf, and to requests for pg_access."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.plugin_utils._access import (
    access_requests,
    hba_lines,
    ident_lines,
)


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


@pytest.mark.parametrize(
    ("rule", "tls", "line"),
    [
        ({}, True, "local all all scram-sha-256"),
        ({"method": "peer"}, True, "local all all peer"),
        ({"address": "127.0.0.1/32"}, True, "host all all 127.0.0.1/32 scram-sha-256"),
        ({"address": "::1/128"}, True, "host all all ::1/128 scram-sha-256"),
        ({"address": "localhost"}, True, "host all all localhost scram-sha-256"),
        ({"address": "192.0.2.0/24"}, True, "hostssl all all 192.0.2.0/24 scram-sha-256"),
        ({"address": "192.0.2.0/24"}, False, "host all all 192.0.2.0/24 scram-sha-256"),
        ({"address": "127.0.0.1/0"}, True, "hostssl all all 127.0.0.1/0 scram-sha-256"),
        ({"address": "all"}, True, "hostssl all all all scram-sha-256"),
        ({"address": "app.example.com"}, True, "hostssl all all app.example.com scram-sha-256"),
        ({"address": "192.0.2.0/24", "type": "host"}, True, "host all all 192.0.2.0/24 scram-sha-256"),
        (
            {"database": ["shop", "my db"], "user": ["+staff", "a,b", "all"], "address": "192.0.2.1/32"},
            True,
            'hostssl shop,"my db" +staff,"a,b",all 192.0.2.1/32 scram-sha-256',
        ),
        ({"database": "shop,crm", "user": "app"}, True, "local shop,crm app scram-sha-256"),
        (
            {"address": "all", "method": "cert", "options": "map=m clientname=DN"},
            True,
            "hostssl all all all cert map=m clientname=DN",
        ),
        ({"method": "trust", "accept_weak": True}, True, "local all all trust"),
    ],
)
def test_a_rule_becomes_a_line(rule: dict[str, Any], tls: bool, line: str) -> None:
    assert " ".join(hba_lines([rule], 15, tls=tls).split()) == line


@pytest.mark.parametrize(
    ("rule", "tls", "code"),
    [
        ({"method": "trust"}, True, "hba-weak"),
        ({"method": "md5"}, True, "hba-weak"),
        ({"method": "password", "address": "192.0.2.0/24"}, True, "hba-weak"),
        ({"method": "ident", "address": "192.0.2.0/24"}, True, "hba-weak"),
        (
            {"method": "ldap", "type": "host", "address": "all", "options": "ldapserver=a ldapprefix=b"},
            True,
            "hba-weak",
        ),
        ({"type": "hostssl", "address": "all"}, False, "hba-tls-off"),
        ({"adress": "192.0.2.0/24"}, True, "hba-rule-unknown"),
        ({"address": "192.0.2.0/33"}, True, "hba-line-malformed"),
        ({"user": ["@admins"], "database": "@x"}, True, "hba-included"),
        ({"method": "scram"}, True, "hba-line-malformed"),
    ],
)
def test_what_cannot_be_meant_is_refused(rule: dict[str, Any], tls: bool, code: str) -> None:
    with pytest.raises(Refused) as refusal:
        hba_lines([{}, rule], 15, tls=tls)
    assert refusal.value.code == code
    assert "rule 2 of postgresql_hba" in f"{refusal.value.attempted} {refusal.value.happened}"


def test_the_order_is_kept() -> None:
    users = ["c", "a", "b"]
    lines = hba_lines([{"user": [user]} for user in users], 15, tls=True)
    assert [line[2] for line in words(lines)] == users


def test_maps() -> None:
    text = ident_lines([{"map": "ops", "system_user": "alice smith", "role": "dba"}], 15)
    assert text == 'ops "alice smith" dba\n'
    with pytest.raises(Refused) as refusal:
        ident_lines([{"map": "ops", "system_user": "alice", "role": ""}], 15)
    assert refusal.value.code == "ident-mapping-incomplete"
    assert "mapping 1 of postgresql_ident" in refusal.value.attempted


def test_databases_with_groups_and_their_creators() -> None:
    databases: list[dict[str, Any]] = [
        {"name": "shop"},
        {"name": "crm", "owner": "boss", "schemas": ["crm"]},
        {"name": "plain", "groups": False},
        {"name": "old", "state": "absent"},
    ]
    roles: list[dict[str, Any]] = [
        {"name": "deploy", "member_of": ["shop_admin", "crm_admin"]},
        {"name": "gone", "member_of": ["shop_admin"], "state": "absent"},
        {"name": "app", "member_of": ["shop_readwrite"]},
        {"name": "nobody"},
    ]
    assert access_requests(databases, roles) == [
        {"name": "shop", "owner": None, "schemas": ["public"], "creators": ["deploy"]},
        {"name": "crm", "owner": "boss", "schemas": ["crm"], "creators": ["deploy"]},
    ]
