# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Do the pools fit into the servers? Pure arithmetic, on upper bounds that PgBouncer itself enforces.

PgBouncer keeps a pool for each (database, role), so the sum is unbounded unless each database has a cap
(``max_db_connections``). Each of ours has one: the arithmetic is a guarantee, not an estimate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..core.errors import Refused
from .request import ATTEMPTED, PooledDatabase, PoolerRequest
from .settings import POOL_SIZE, RESERVE_POOL_SIZE, number

Server = tuple[str, int]


@dataclass(frozen=True)
class Pool:
    """The sizes of one database's pools; ``cap`` bounds all of them together."""

    size: int
    reserve: int
    cap: int


@dataclass(frozen=True)
class Limits:
    """How many connections a server takes, and how many of them it keeps for superusers and reserved roles."""

    max_connections: int
    superuser_reserved: int = 3
    reserved: int = 0

    @property
    def usable(self) -> int:
        """What ordinary roles can have."""
        return self.max_connections - self.superuser_reserved - self.reserved


@dataclass(frozen=True)
class Budget:
    """One server's connections and who may take them."""

    server: Server
    limits: Limits
    kept: int
    poolers: int
    caps: Mapping[str, int]

    @property
    def wanted(self) -> int:
        """What all poolers together may open."""
        return self.poolers * sum(self.caps.values())

    @property
    def available(self) -> int:
        """What poolers may open."""
        return max(0, self.limits.usable - self.kept)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "server": place(self.server),
            "max_connections": self.limits.max_connections,
            "superuser_reserved_connections": self.limits.superuser_reserved,
            "reserved_connections": self.limits.reserved,
            "kept_connections": self.kept,
            "available": self.available,
            "poolers": self.poolers,
            "databases": dict(self.caps),
            "wanted": self.wanted,
        }


def place(server: Server) -> str:
    """A server as people write it."""
    host, port = server
    return f"{host}:{port}"


def pool_of(database: PooledDatabase, request: PoolerRequest) -> Pool:
    """Sizes as PgBouncer will have them. Raises :class:`Refused` (``pooler-option-wrong``)."""
    size = database.pool_size or number(request.settings, "default_pool_size", POOL_SIZE)
    reserve = database.reserve_pool_size
    if reserve is None:
        reserve = number(request.settings, "reserve_pool_size", RESERVE_POOL_SIZE)
    # One more, so that a login can be looked up while all others are busy.
    follows = database.users * (size + reserve) + (1 if request.lookup_role else 0)
    return Pool(size, reserve, database.max_connections or follows)


def budgets(request: PoolerRequest, limits: Mapping[Server, Limits]) -> list[Budget]:
    """One for each server whose limits are known, in the order of the databases.

    Poolers that share a server are taken to be alike. A database with several hosts may have all its connections
    on any of them.
    """
    caps: dict[Server, dict[str, int]] = {}
    poolers: dict[Server, int] = {}
    for database in request.databases:
        for server in database.servers:
            caps.setdefault(server, {})[database.name] = pool_of(database, request).cap
            poolers[server] = max(database.poolers, poolers.get(server, 1))
    return [
        Budget(server, limits[server], request.kept_connections, poolers[server], found)
        for server, found in caps.items()
        if server in limits
    ]


def check_budgets(found: list[Budget]) -> None:
    """Raises :class:`Refused` (``pools-exceed-server``) with the sum of the first server that cannot hold them."""
    for budget in found:
        if budget.wanted <= budget.available:
            continue
        limits, poolers = budget.limits, budget.poolers
        terms = " + ".join(f"{name} {cap}" for name, cap in budget.caps.items())
        several = f"{poolers} x ({terms})" if poolers > 1 else terms
        reserved = limits.superuser_reserved + limits.reserved
        share = budget.available // (poolers * len(budget.caps))
        raise Refused(
            "pools-exceed-server",
            attempted=ATTEMPTED,
            happened=(
                f"the pools may open {several} = {budget.wanted} connections to {place(budget.server)}, which has "
                f"{budget.available} for them (max_connections {limits.max_connections} - {reserved} reserved"
                f" - {budget.kept} kept for others)"
            ),
            remedy=(
                f"Take {budget.wanted - budget.available} away (max_connections of each database: {share}), "
                f"or raise the server's max_connections to {budget.wanted + budget.kept + reserved}."
            ),
            details=budget.to_dict(),
        )
