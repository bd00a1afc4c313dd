# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Which pooler reaches which database, by inventories."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.plugin_utils._pooled import pooled_databases

HOSTS: dict[str, dict[str, Any]] = {
    "db1": {
        "ansible_host": "192.0.2.11",
        "pgbouncer_databases": [{"name": "app", "server": "db1", "pool_size": 9}],
    },
    "db2": {"ansible_host": "192.0.2.12", "postgresql_port": 5433},
    "pool1": {
        "ansible_host": "2001:db8::21",
        "pgbouncer_databases": [
            {"name": "app", "server": "db2"},
            {"name": "old", "host": "198.51.100.1", "port": 5555, "server_max_connections": 50},
            {"name": "twin", "server": "db2", "dbname": "app", "port": 6000},
        ],
    },
    "pool2": {"pgbouncer_address": "203.0.113.0/28", "pgbouncer_databases": [{"name": "x", "server": "db2"}]},
    "pool3.example.com": {"pgbouncer_databases": [{"name": "x", "server": "db1"}]},
}


def test_a_pooler_gets_addresses_and_ports() -> None:
    assert [found["entry"] for found in pooled_databases(HOSTS, ["db1"])] == [
        {"name": "app", "host": "127.0.0.1", "port": 5432, "pool_size": 9, "poolers": 1}
    ]
    assert [found["entry"] for found in pooled_databases(HOSTS, ["pool1"])] == [
        {"name": "app", "host": "192.0.2.12", "port": 5433, "poolers": 1},
        {"name": "old", "host": "198.51.100.1", "port": 5555, "server_max_connections": 50, "poolers": 1},
        {"name": "twin", "host": "192.0.2.12", "port": 6000, "dbname": "app", "poolers": 1},
    ]


def test_poolers_of_one_server_share_it() -> None:
    found = pooled_databases(HOSTS, ["db1", "pool1", "pool2", "pool3.example.com"])
    counts = [(item["pooler"], item["entry"]["name"], item["entry"]["poolers"]) for item in found]
    assert counts == [
        ("db1", "app", 2),
        ("pool1", "app", 2),
        ("pool1", "old", 1),
        ("pool1", "twin", 2),
        ("pool2", "x", 2),
        ("pool3.example.com", "x", 2),
    ]


def test_a_server_gets_to_know_who_comes() -> None:
    poolers = ["db1", "pool1", "pool2", "pool3.example.com"]

    def seen(server: str) -> list[tuple[str, str, str]]:
        found = pooled_databases(HOSTS, poolers, server)
        return [(item["pooler"], item["address"], item["dbname"]) for item in found]

    assert seen("db1") == [("db1", "samehost", "app"), ("pool3.example.com", "pool3.example.com", "x")]
    assert seen("db2") == [
        ("pool1", "2001:db8::21/128", "app"),
        ("pool1", "2001:db8::21/128", "app"),
        ("pool2", "203.0.113.0/28", "x"),
    ]
    assert seen("pool1") == []


def test_a_primary_provides_for_its_standbys() -> None:
    hosts = {**HOSTS, "db2": {**HOSTS["db2"], "postgresql_primary": "db1"}}

    def names(server: str, with_standbys: bool) -> list[str]:
        found = pooled_databases(hosts, ["db1", "pool1"], server, with_standbys=with_standbys)
        return [item["entry"]["name"] for item in found]

    assert (names("db1", False), names("db1", True)) == (["app"], ["app", "app", "twin"])
    assert names("db2", True) == names("db2", False) == ["app", "twin"]


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"name": "app", "server": "db9"}, "no host db9"),
        ({"name": "app"}, "either server or host"),
        ({"name": "app", "server": "db1", "host": "192.0.2.1"}, "either server or host"),
        ({"server": "db1"}, "needs a name"),
    ],
)
def test_what_cannot_be_meant(item: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused) as caught:
        pooled_databases({**HOSTS, "pool1": {"pgbouncer_databases": [item]}}, ["pool1"])
    assert caught.value.code == "pooled-database-wrong" and words in caught.value.happened
