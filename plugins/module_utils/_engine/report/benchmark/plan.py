# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a workload test runs, and what pgbench says of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...core.errors import Failed, Refused

READ_ONLY, READ_WRITE, MANY_CLIENTS = "read_only", "read_write", "many_clients"
WORKLOADS = (READ_ONLY, READ_WRITE, MANY_CLIENTS)
DIRECT, PGBOUNCER = "direct", "pgbouncer"
#: A database is ours when this is its comment; no other one is ever touched.
MARK = "dbkeeper.ops workload test: may be dropped at any time"
#: Runs of one cluster that are kept.
KEPT = 200


@dataclass(frozen=True)
class BenchmarkRequest:
    """What is to be tried. ``pooler`` adds to the login what differs for PgBouncer (``login_host``, ``login_port``)."""

    login: Mapping[str, Any]
    bin_directory: str
    database: str = "dbkeeper_benchmark"
    workloads: tuple[str, ...] = ()
    scale: int = 10
    seconds: int = 10
    clients: int = 4
    many_clients: int = 50
    pooler: Mapping[str, Any] = field(default_factory=dict)
    state_directory: str = "/var/lib/dbkeeper/report"
    check: bool = False

    def __post_init__(self) -> None:
        for name in ("scale", "seconds", "clients", "many_clients"):
            if getattr(self, name) < 1:
                raise Refused(
                    "benchmark-senseless",
                    attempted="plan a workload test",
                    happened=f"{name} is {getattr(self, name)}",
                    remedy=f"Give {name} a value of 1 or more.",
                )


@dataclass(frozen=True)
class Step:
    """One run of pgbench."""

    workload: str
    way: str
    clients: int
    options: tuple[str, ...]


def steps(request: BenchmarkRequest) -> list[Step]:
    """Every workload over every way; what writes comes last, so that reading finds the tables as they were filled."""
    ways = (DIRECT, PGBOUNCER) if request.pooler else (DIRECT,)
    chosen = [name for name in (READ_ONLY, MANY_CLIENTS, READ_WRITE) if name in request.workloads]
    planned = []
    for workload in chosen:
        clients = request.many_clients if workload == MANY_CLIENTS else request.clients
        for way in ways:
            options = [
                "--client",
                str(clients),
                "--jobs",
                str(min(clients, 4)),
                "--time",
                str(request.seconds),
            ]
            options += ["--no-vacuum", "--protocol", "simple" if way == PGBOUNCER else "prepared"]
            if workload != READ_WRITE:
                options.append("--select-only")
            planned.append(Step(workload, way, clients, tuple(options)))
    return planned


_FIGURES: dict[str, tuple[str, float]] = {
    "tps": (r"^tps = ([\d.]+)", 1.0),
    "latency_seconds": (r"^latency average = ([\d.]+) ms", 0.001),
    "transactions": (r"^number of transactions actually processed: (\d+)", 1.0),
    "failed": (r"^number of failed transactions: (\d+)", 1.0),
    "connecting_seconds": (r"^(?:initial connection time|average connection time) = ([\d.]+) ms", 0.001),
}


def figures(text: str) -> dict[str, Any]:
    """What pgbench measured, of its words (14 to 18). Failed ``benchmark-not-understood``."""
    found: dict[str, Any] = {}
    for name, (pattern, factor) in _FIGURES.items():
        match = re.search(pattern, text, re.MULTILINE)
        if match:
            found[name] = round(float(match[1]) * factor, 9)
    missing = [name for name in ("tps", "latency_seconds", "transactions") if name not in found]
    if missing:
        raise Failed(
            "benchmark-not-understood",
            attempted="read what pgbench measured",
            happened=f"{', '.join(missing)} is not in what it said: {text[-300:]}",
            remedy="See the version of pgbench in bin_directory; 14 to 18 are known.",
        )
    return {**found, "transactions": int(found["transactions"]), "failed": int(found.get("failed", 0))}
