# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What only all nodes together can tell: IX04, unused everywhere; IX13, different from its twins. Pure.

An index that the primary never scans may be all that a standby's reports live on. So one node that is missing,
unreachable or too young is enough for "insufficient evidence", and it is named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...core.clock import format_utc
from ..finding import HEURISTIC, INFO, INSUFFICIENT, LOW, MEASURED, MEDIUM, Finding, Says, Window
from ..session import moment
from .facts import dotted, thing
from .limits import SOURCES, Limits

#: Guards that are no reason to be silent: an expression's statistics may be used though the index is not.
_REVIEW = "expression"


def across(
    results: Sequence[Mapping[str, Any]],
    expected_nodes: Iterable[str] = (),
    *,
    names: Sequence[str] | None = None,
    unseen: Mapping[str, str] | None = None,
    limits: Limits | None = None,
) -> list[Finding]:
    """IX04 of one cluster, from the results of ``pg_index_info`` on its nodes.

    ``names``: what people call the nodes, in the order of ``results`` (else host and port). ``expected_nodes``: all
    that the inventory has of this cluster; one without a result is missing. ``unseen``: node -> why it was not seen. A
    standby that a primary's ``pg_stat_replication`` shows and nobody asked counts as missing, too.
    """
    limits = limits or Limits()
    called = list(names) if names else [_called(result) for result in results]
    gaps = _gaps(results, called, list(expected_nodes), dict(unseen or {}))
    findings = []
    for database in sorted({name for result in results for name in result["facts"]["databases"]}):
        findings.extend(_of_database(database, results, called, gaps, limits))
    for order, place in enumerate(
        sorted(range(len(findings)), key=lambda at: -(findings[at].impact.get("bytes") or 0)), 1
    ):
        # After the redundant ones: those are proven by the catalogs alone.
        findings[place] = _numbered(findings[place], 1000 + order)
    return findings


def _numbered(finding: Finding, order: int) -> Finding:
    return Finding(**{**finding.__dict__, "order": order})


def _called(result: Mapping[str, Any]) -> str:
    node = result["node"]
    return f"{node['host'] or 'local'}:{node['port']}"


def _gaps(
    results: Sequence[Mapping[str, Any]], called: list[str], expected: list[str], unseen: dict[str, str]
) -> list[Says]:
    gaps = [Says("node", {"node": name, "why": why}) for name, why in sorted(unseen.items())]
    for name in expected:
        if name not in called and name not in unseen:
            gaps.append(Says("node", {"node": name, "why": "not asked"}))
    standbys_seen = sum(1 for result in results if result["node"]["in_recovery"])
    told = [standby for result in results for standby in result["facts"]["standbys"]]
    if len(told) > standbys_seen + len(gaps):
        for standby in told:
            # Names are the standbys' own; which of them was asked is known only where they agree.
            if standby["name"] not in called:
                gaps.append(Says("node", {"node": standby["name"], "why": "streams from the primary"}))
    if not any(not result["node"]["in_recovery"] for result in results):
        gaps.append(Says("node", {"node": "primary", "why": "not asked"}))
    return gaps


def _of_database(
    name: str,
    results: Sequence[Mapping[str, Any]],
    called: list[str],
    gaps: list[Says],
    limits: Limits,
) -> list[Finding]:
    lists = [
        {
            (row["schema"], row["index"]): row
            for row in result["facts"]["databases"].get(name, {}).get("unused", ())
        }
        for result in results
    ]
    without = [
        Says("node", {"node": node, "why": f"database {name} not seen"})
        for node, result in zip(called, results)
        if name not in result["facts"]["databases"]
    ]
    seen = [rows for rows, result in zip(lists, results) if name in result["facts"]["databases"]]
    findings = []
    for identity in sorted(set.intersection(*(set(rows) for rows in seen)) if seen else set()):
        rows = [rows[identity] for rows in lists if identity in rows]
        finding = _judge(name, identity, rows, results, called, [*gaps, *without], limits)
        if finding:
            findings.append(finding)
    return findings


def _judge(
    database: str,
    identity: tuple[str, str],
    rows: list[Mapping[str, Any]],
    results: Sequence[Mapping[str, Any]],
    called: list[str],
    gaps: list[Says],
    limits: Limits,
) -> Finding | None:
    guard = next((row["guard"] for row in rows if row["guard"] and row["guard"] != _REVIEW), None)
    if guard:
        return None
    scans = sum(row["scans"] for row in rows)
    probes = any(row["probes"] for row in rows)
    nodes = [node for node, result in zip(called, results) if database in result["facts"]["databases"]]
    missing = list(gaps)
    for node, row in zip(nodes, rows):
        seconds = row["until"] - row["since"]
        if seconds < limits.unused_seconds:
            needed, why = limits.unused_seconds, row["why"]
            values = {"node": node, "seen_seconds": seconds, "needed_seconds": needed, "why": why}
            missing.append(Says("window", values))
    if missing and scans and not probes:
        # Scanned, and not idle for long: in use, as far as anybody knows.
        return None
    # Nodes are read one after the other: one may have begun to watch when another had been read.
    since = max(row["since"] for row in rows)
    until = max(since, min(row["until"] for row in rows))
    source = next((row for row in rows if row["undo"]), rows[0])
    review = any(row["guard"] == _REVIEW for row in rows)
    probing = bool(missing) and scans > 0
    plain = "IX04_partitioned" if source.get("partitioned") else "IX04"
    key = "IX04_probes" if probing else "IX04_review" if review else plain
    if not source["undo"] and not missing:
        missing.append(Says("definition", {"what": dotted(*identity)}))
    size = max(row["size_bytes"] for row in rows)
    return Finding(
        name="IX04",
        system_id=str(results[0]["node"]["system_id"]),
        severity=INFO if probing else LOW if review else MEDIUM,
        grade=INSUFFICIENT if missing else HEURISTIC if review else MEASURED,
        database=database,
        thing=thing("index", *identity, table=source["table"]),
        says=Says(
            key,
            {
                "index": dotted(*identity),
                "table": dotted(identity[0], source["table"]),
                "nodes": nodes,
                "window_seconds": limits.unused_seconds if probing else until - since,
                "size_bytes": size,
                "scans": scans,
            },
        ),
        nodes=tuple(nodes),
        window=Window(
            format_utc(moment(since)), format_utc(moment(until)), round(until - since, 3), _why(rows, since)
        ),
        value={"scans": scans, "size_bytes": size},
        threshold={"value": limits.unused_seconds, "source": SOURCES["unused_seconds"]},
        impact={
            "bytes": size,
            "writes_per_second": max(row["writes_per_second"] or 0 for row in rows) or None,
        },
        action=() if missing else tuple(source["action"]),
        undo=() if missing else tuple(source["undo"]),
        missing=tuple(missing),
    )


def _why(rows: list[Mapping[str, Any]], since: float) -> str:
    return str(next((row["why"] for row in rows if row["since"] == since), "watched"))


def twins(clusters: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Finding]:
    """IX13: clusters of one role (shards, stages) whose indexes differ: cluster -> results of its nodes.

    The form that most of them have is taken as the one that is meant.
    """
    system_ids: dict[str, str] = {}
    told: dict[str, dict[str, Mapping[str, Any]]] = {}
    for cluster, results in clusters.items():
        for result in results:
            if result["node"]["in_recovery"]:
                continue
            system_ids[cluster] = str(result["node"]["system_id"])
            for database, facts in result["facts"]["databases"].items():
                told.setdefault(database, {})[cluster] = facts["definitions"]
    findings = []
    for database, definitions in sorted(told.items()):
        # By each index where all tell of each; where one has too many for that, by table.
        by = next(
            (
                one
                for one in ("each", "tables")
                if all(each.get(one) is not None for each in definitions.values())
            ),
            None,
        )
        if by is None:
            continue
        forms: dict[str, dict[str, str]] = {}
        for cluster, each in definitions.items():
            for name, digest in each[by].items():
                forms.setdefault(name, {})[cluster] = digest
        for name, found in sorted(forms.items()):
            if len(definitions) > 1 and (len(found) < len(definitions) or len(set(found.values())) > 1):
                findings.append(
                    _differs(database, name, found, sorted(definitions), by == "tables", system_ids)
                )
    return findings


def _differs(
    database: str,
    place: str,
    found: Mapping[str, str],
    there: Sequence[str],
    of_table: bool,
    system_ids: Mapping[str, str],
) -> Finding:
    common, count = Counter(found.values()).most_common(1)[0]
    others = [cluster for cluster in there if found.get(cluster) != common]
    schema, _dot, name = place.partition(".")
    return Finding(
        name="IX13",
        # Of no single cluster: stable as long as the group of clusters is.
        system_id=",".join(sorted(system_ids.values())),
        severity=MEDIUM,
        grade=MEASURED,
        database=database,
        thing=thing("table" if of_table else "index", schema, name),
        says=Says(
            "IX13_table" if of_table else "IX13",
            {"table" if of_table else "index": place, "present": count, "all": len(there), "others": others},
        ),
        nodes=tuple(others),
        value={"same": count, "clusters": len(there)},
    )
