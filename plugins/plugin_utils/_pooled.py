# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Which pooler reaches which database of which host, from the inventory. Pure; controller only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..module_utils._engine.core.errors import Refused

_LOOPBACK = "127.0.0.1"


def pooled_databases(
    hosts: Mapping[str, Mapping[str, Any]],
    poolers: Iterable[str],
    server: str = "",
    *,
    with_standbys: bool = False,
) -> list[dict[str, Any]]:
    """Every database that the ``poolers`` pool, or those of one ``server``, in the order of the inventory.

    ``with_standbys``: and those of its standbys, which get from it what they need.

    Each with ``pooler``, ``address`` (an address or network as pg_hba.conf takes it, where the server sees the
    pooler come from), ``dbname``, and ``entry``, which the module pgbouncer takes (``poolers`` in it says how many
    of them reach the same server). Raises :class:`Refused`
    (``pooled-database-wrong``).
    """
    found = []
    poolers = list(poolers)
    shared = _shared(hosts, poolers)
    for pooler in poolers:
        for item in hosts[pooler].get("pgbouncer_databases") or []:
            name = str(item.get("name") or "")
            where = str(item.get("server") or "")
            if not name or (where and item.get("host")) or not (where or item.get("host")):
                raise _wrong(pooler, f"{name or item} needs a name, and either server or host")
            if where and where not in hosts:
                raise _wrong(pooler, f"{name}: the inventory has no host {where}")
            if server and where != server and not (with_standbys and _primary(hosts, where) == server):
                continue
            found.append(
                {
                    "pooler": pooler,
                    "address": "samehost" if where == pooler else _network(_address(hosts[pooler], pooler)),
                    "dbname": str(item.get("dbname") or name),
                    "entry": {"poolers": len(shared[_place(item)]), **_entry(hosts, pooler, where, item)},
                }
            )
    return found


def _shared(
    hosts: Mapping[str, Mapping[str, Any]], poolers: Iterable[str]
) -> dict[tuple[str, str], set[str]]:
    """Which poolers reach a server."""
    shared: dict[tuple[str, str], set[str]] = {}
    for pooler in poolers:
        for item in hosts[pooler].get("pgbouncer_databases") or []:
            shared.setdefault(_place(item), set()).add(pooler)
    return shared


def _place(item: Mapping[str, Any]) -> tuple[str, str]:
    """What tells servers apart: a name of the inventory, or host and port."""
    return (
        str(item.get("server") or item.get("host") or ""),
        "" if item.get("server") else str(item.get("port") or 5432),
    )


def _primary(hosts: Mapping[str, Mapping[str, Any]], host: str) -> str:
    return str(hosts[host].get("postgresql_primary") or "") if host else ""


def _entry(
    hosts: Mapping[str, Mapping[str, Any]], pooler: str, server: str, item: Mapping[str, Any]
) -> dict[str, Any]:
    entry = {key: value for key, value in item.items() if key != "server"}
    if server:
        there = hosts[server]
        host = _LOOPBACK if server == pooler else str(there.get("ansible_host") or server)
        entry = {"host": host, "port": int(there.get("postgresql_port") or 5432), **entry}
    return entry


def _address(variables: Mapping[str, Any], name: str) -> str:
    return str(variables.get("pgbouncer_address") or variables.get("ansible_host") or name)


def _network(address: str) -> str:
    """pg_hba.conf wants a mask with an address, and none with a name."""
    if "/" in address or not address:
        return address
    if ":" in address:
        return f"{address}/128"
    return f"{address}/32" if address.replace(".", "").isdigit() else address


def _wrong(pooler: str, happened: str) -> Refused:
    return Refused(
        "pooled-database-wrong",
        attempted=f"read pgbouncer_databases of {pooler}",
        happened=happened,
        remedy="Correct it in the inventory, then run the same again.",
    )
