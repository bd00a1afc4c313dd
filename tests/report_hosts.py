# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Fleets for tests of the report: hosts with results in the shape that the modules give, as many as are asked for.

Findings are of every class that there are words for. Names are those that break pages: markup, quotes, Japanese.
"""

from __future__ import annotations

import random
import string
from typing import Any

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.baseline import told_of
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.finding import (
    GRADES,
    INSUFFICIENT,
    SEVERITIES,
    Finding,
    Says,
    Window,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.words import say
from ansible_collections.dbkeeper.ops.plugins.plugin_utils.report.hosts import Host

MADE_AT = "2026-11-21T03:00:00Z"
SINCE = "2026-10-15T03:00:00Z"
EVIL = '</script><script>window.hacked = 1</script><img src=x onerror="window.hacked = 1">\'`|\u2028'
NAMES = ("orders", "order_items", 'we"ird', "注文明細", "<b>bold</b>", "customers", "audit_log", "sessions")
#: As long as a statement in pg_stat_statements easily is when it lists its values.
LONG = "SELECT * FROM customers WHERE id IN (" + ", ".join(["$1"] * 16_000) + ") /* " + EVIL + " */"
STATEMENTS = (
    "SELECT o.id, o.total FROM orders o JOIN customers c ON c.id = o.customer_id WHERE c.email = $1",
    "UPDATE sessions SET seen_at = now() WHERE token = $1",
    "INSERT INTO audit_log (at, who, what) VALUES ($1, $2, $3)",
    'SELECT count(*) FROM "注文明細" WHERE "状態" = $1',
    f"SELECT 1 /* {EVIL} */",
    "SELECT * FROM order_items WHERE order_id = $1 ORDER BY position",
    "DELETE FROM sessions WHERE seen_at < $1",
    "WITH recent AS (SELECT * FROM orders WHERE made_at > $1) SELECT customer_id, sum(total) FROM recent GROUP BY 1",
)


def placeholders(*texts: str) -> set[str]:
    """The names that texts are filled in with."""
    return {name for text in texts for dummy, name, dummy2, dummy3 in string.Formatter().parse(text) if name}


def values_of(name: str, number: int, thing: str) -> Any:
    """Something that fits a placeholder's unit."""
    for end, value in (
        ("_bytes", 8192 * 1000 * (number % 977 + 1)),
        ("_seconds", 3.5 * (number % 400 + 1)),
        ("_ms", 1.25 * (number % 4000 + 1)),
        ("_share", (number % 97) / 100),
        ("_per_second", (number % 50) / 3),
    ):
        if name.endswith(end):
            return value
    return thing if name in ("index", "table", "cover", "what", "statement", "object") else number % 113


def finding(number: int, system_id: str, **chosen: Any) -> Finding:
    """The finding of a number: always the same one."""
    keys = sorted(say.FINDINGS)
    key = chosen.pop("key", None) or keys[number % len(keys)]
    thing = NAMES[number % len(NAMES)]
    index = f"{thing}_{number}_idx"
    entry = say.FINDINGS[key]
    wanted = placeholders(*(pair.en for pair in entry))
    grade = chosen.pop("grade", GRADES[number % 7] if number % 7 < len(GRADES) else GRADES[0])
    missing = sorted(say.MISSING)[number % len(say.MISSING)]
    gaps = placeholders(say.MISSING[missing].en)
    quoted = '"' + index.replace('"', '""') + '"'
    return Finding(
        **{
            "name": key[:4] if key[:2].isupper() else "IX02",
            "system_id": system_id,
            "severity": SEVERITIES[(number * 7 + number // 11) % 5] if number % 3 else SEVERITIES[3],
            "grade": grade,
            "database": ("app", "販売", "x<y&z")[number % 3],
            "thing": {"kind": "index", "schema": "public", "name": index, "table": thing},
            "says": Says(key, {name: values_of(name, number, thing) for name in wanted}),
            "window": Window(SINCE, MADE_AT, 37 * 86400.0, "first_seen"),
            "value": {"scans": 0, "size_bytes": 8192 * 1000 * (number % 977 + 1)},
            "threshold": {"value": {"size_bytes": 10485760}, "source": "profile default"},
            "impact": {
                "bytes": 8192 * 1000 * (number % 977 + 1),
                "writes_per_second": (number % 50) / 3,
                "load_share": (number % 97) / 9700,
            },
            "action": (f"DROP INDEX CONCURRENTLY public.{quoted};",),
            "undo": (f"CREATE INDEX CONCURRENTLY {quoted} ON public.t USING btree (a, b);",),
            "order": number,
            "missing": (Says(missing, {name: values_of(name, number, thing) for name in gaps}),)
            if grade == INSUFFICIENT
            else (),
            "first_seen": SINCE if number % 4 else MADE_AT,
            "state": "known" if number % 4 else "new",
            # Twenty runs; every fifth finding comes and goes.
            "runs": told_of(
                [
                    None if number % 5 == 1 and run % 4 == 2 else 8192.0 * (number % 977 + run)
                    for run in range(20)
                ],
                {"size_bytes": 1},
            ),
            **chosen,
        }
    )


def node(system_id: str, name: str, *, standby: bool = False) -> dict[str, Any]:
    """What a server says of itself."""
    return {
        "system_id": system_id,
        "server_version_num": 170006,
        "in_recovery": standby,
        "role": "standby" if standby else "primary",
        "host": name,
        "port": 5432,
        "started_at": SINCE,
        "taken_at": MADE_AT,
    }


def result(of: dict[str, Any], findings: list[Finding], **more: Any) -> dict[str, Any]:
    """What a module answers."""
    return {
        "changed": False,
        "node": of,
        "databases": ["app"],
        "findings": [one.to_dict() for one in findings],
        "not_seen": [],
        "facts": {},
        "cost": {"server_seconds": 0.41, "temp_bytes": 0, "seconds": 0.6},
        "baseline": {"file": "/var/lib/dbkeeper/report/x/baseline.json.gz", "stored": False, "runs": 8},
        **more,
    }


def query_facts(seed: int, statements: int) -> dict[str, Any]:
    """Statements and their time, as pg_query_info tells them."""
    dice = random.Random(seed)
    told = []
    for number in range(statements):
        calls = int(10 ** dice.uniform(1, 6))
        mean = 10 ** dice.uniform(-2, 3)
        text = STATEMENTS[number % len(STATEMENTS)]
        told.append(
            {
                "queryid": str(dice.getrandbits(63)),
                "database": "app",
                "user": "app",
                "toplevel": True,
                "text": text if number < len(STATEMENTS) else f"{text} -- {number}",
                "calls": calls,
                "mean_ms": mean,
                "total_ms": calls * mean,
                "history": [
                    None if run == number % 9 else [calls / 3600 * (1 + run % 3), mean * (1 + run % 4 / 4)]
                    for run in range(12)
                ],
            }
        )
    told.sort(key=lambda one: -float(one["total_ms"]))
    whole = sum(float(one["total_ms"]) for one in told) or 1.0
    for one in told:
        one["load_share"] = float(one["total_ms"]) / whole
    return {
        "statements": told,
        "window": {"since": SINCE, "until": MADE_AT, "seconds": 3196800, "why": "baseline"},
        "time": {
            "total_ms": whole,
            "cpu_ms": whole * 0.6,
            "read_ms": whole * 0.25,
            "write_ms": whole * 0.05,
            "plan_ms": whole * 0.1,
            "jit_ms": 0.0,
            "sessions": dice.uniform(0.2, 3),
        },
        "history": [
            {"at": SINCE, "sessions": dice.uniform(0.2, 3), "calls": 10**6 * (1 + run % 3), "seconds": 3600}
            for run in range(8)
        ],
    }


def fleet(nodes: int = 50, findings: int = 5000, *, each: int = 3, statements: int = 30) -> list[Host]:
    """Clusters of ``each`` nodes; the last node of all is unreachable. All nodes together tell ``findings``."""
    hosts: list[Host] = []
    told = 0
    for number in range(nodes):
        cluster, place = divmod(number, each)
        name = f"db{cluster + 1:02d}{'abc'[place % 3]}"
        leader = f"db{cluster + 1:02d}a"
        system_id = str(7_000_000_000_000_000_000 + cluster)
        if number == nodes - 1 and nodes > 1:
            gone = {"unreachable": True, "msg": f"Failed to connect to the host via ssh: {EVIL} 到達不能"}
            hosts.append(Host(name, {"index": gone, "query": gone, "health": gone}, leader if place else ""))
            break
        share = (findings - told) // (nodes - 1 - number) if nodes > 1 else findings
        mine = [finding(told + offset, system_id) for offset in range(share)]
        told += share
        of = node(system_id, name, standby=place > 0)
        hosts.append(
            Host(
                name,
                {
                    "index": result(of, mine[::2]),
                    "query": result(of, [], facts=query_facts(number, statements)),
                    "health": result(of, mine[1::2]),
                },
                leader if place else "",
            )
        )
    return hosts
