# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Many nodes become one document: what several nodes of a cluster say of one thing is said once, and what only all
nodes together can tell is told here. Pure; the document's shape is docs/report.schema.json. Controller only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from ...module_utils._engine.report.baseline import HISTORY, damped, figure, told_of
from ...module_utils._engine.report.finding import INFO, SEVERITIES, Finding
from ...module_utils._engine.report.health.fleet import across as health_across
from ...module_utils._engine.report.index.fleet import across as index_across
from ...module_utils._engine.report.index.fleet import twins
from .areas import area_of
from .gate import judge
from .hosts import FAILED, UNREACHABLE, Group, Host, grouped
from .texts import blind, unseen, written

FORMAT = 1
_REPORTS = {"IX": "index", "QY": "query", "HC": "health"}
_DROPS = ("IX01", "IX02", "IX03", "IX04")


def merge(
    hosts: Iterable[Host],
    *,
    made_at: str,
    today: date,
    language: str = "en",
    title: str = "",
    fail_on: Sequence[str] = (),
    accepted: Sequence[Mapping[str, Any]] = (),
    previous: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The document. ``previous`` is the last one, for when what only all nodes tell was first seen.

    Raises Refused ``report-rule-unknown``.
    """
    agreed = {str(entry["id"]): entry for entry in accepted if entry.get("id")}
    remembered = _remembered(previous)
    told_here: dict[str, Any] = {}
    clusters = []
    groups = grouped(hosts)
    apart = across_clusters(groups)
    for group in groups:
        found = [*_joined(group), *(finding for name, finding in apart if name == group.name)]
        told_here |= _looked_up([one for one in found if not one.get("first_seen")], remembered, made_at)
        findings = [_standing(finding, agreed, today) for finding in found]
        clusters.append(
            {
                "name": group.name,
                "system_id": group.system_id,
                "expected_nodes": group.expected(),
                "nodes": [_node(host) for host in group.hosts],
                "findings": sorted(findings, key=_weight),
                "not_seen": _not_seen(group),
            }
        )
    document: dict[str, Any] = {
        "format": FORMAT,
        "made_at": made_at,
        "language": language,
        "title": title,
        "not_seen": [gap for cluster in clusters for gap in cluster.pop("not_seen")],
        "clusters": clusters,
        "remembered": {**_gone(remembered, told_here, groups), **told_here},
    }
    document["summary"] = _summary(clusters)
    document["gate"] = judge(fail_on, document)
    return document


def _joined(group: Group) -> list[dict[str, Any]]:
    """Every finding of a cluster once, with the nodes that have it."""
    said: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for host in group.hosts:
        for result in host.answered().values():
            for finding in result.get("findings") or []:
                said.setdefault(finding["id"], []).append((host.name, finding))
    joined = [_one(told) for told in said.values()]
    # An invalid index is seen by two; who knows how it is mended tells it.
    invalid = {_about(finding) for finding in joined if finding["class"] == "IX01"}
    joined = [finding for finding in joined if finding["class"] != "HC23" or _about(finding) not in invalid]
    return [*joined, *(dict(finding) for finding in across_nodes(group) if finding["id"] not in said)]


def _about(finding: Mapping[str, Any]) -> tuple[Any, ...]:
    thing = finding.get("object") or {}
    return finding.get("database"), thing.get("schema"), thing.get("name")


def _one(told: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """The worst of what is said of one thing; a group begins with its primary, which wins a draw."""
    dummy, worst = min(told, key=lambda pair: SEVERITIES.index(pair[1]["severity"]))
    finding = dict(worst)
    finding["nodes"] = list(dict.fromkeys(name for name, told_finding in told))
    if len(finding["nodes"]) > 1:
        finding["values"] = {name: told_finding.get("value") for name, told_finding in told}
    dates = [str(each["first_seen"]) for name, each in told if each.get("first_seen")]
    finding["first_seen"] = min(dates) if dates else None
    states = {each["state"] for name, each in told}
    finding["state"] = next(state for state in ("accepted", "known", "new") if state in states)
    finding["accepted"] = next((each["accepted"] for name, each in told if each.get("accepted")), None)
    return finding


def across_nodes(group: Group) -> list[dict[str, Any]]:
    """What no node can say alone: unused on all of them, settings that differ, standbys that are missing."""
    health = [(host.name, _health(host)) for host in group.hosts if "health" in host.results]
    followers = [host.name for host in group.hosts if host.primary]
    found = health_across(health, followers) if any(result for dummy, result in health) else []
    return [finding.to_dict() for finding in [*_unused(group), *found]]


def _unused(group: Group) -> list[Finding]:
    read = [host for host in group.hosts if _indexes(host)]
    if not read:
        return []
    unseen = {host.name: _first_line(host.why("index")) for host in group.hosts if host not in read}
    results = [_indexes(host) for host in read]
    names = [host.name for host in read]
    return index_across(results, [host.name for host in group.hosts], names=names, unseen=unseen)


def across_clusters(groups: Sequence[Group]) -> list[tuple[str, dict[str, Any]]]:
    """What differs between clusters of one ``report_role``: the cluster that it is told of, and the finding."""
    roles: dict[str, list[Group]] = {}
    for group in groups:
        for role in {host.role for host in group.hosts if host.role}:
            roles.setdefault(role, []).append(group)
    told = []
    for members in roles.values():
        by_name = {
            group.name: [_indexes(host) for host in group.hosts if _indexes(host)] for group in members
        }
        for finding in twins(by_name) if len(members) > 1 else []:
            for name in finding.nodes:
                host = next(group for group in members if group.name == name).hosts[0].name
                told.append((name, {**finding.to_dict(), "nodes": [host]}))
    return told


def _indexes(host: Host) -> Mapping[str, Any]:
    """What a host said of its indexes; empty where it could not look."""
    result = host.answered().get("index", {})
    return result if "databases" in result.get("facts", {}) else {}


def _health(host: Host) -> Mapping[str, Any] | None:
    """What a host said of its health; None where it could not look."""
    result = host.answered().get("health", {})
    return result if "capacity" in result.get("facts", {}) else None


def _first_line(text: str | None) -> str:
    return (text or "").strip().split("\n", 1)[0]


def _standing(
    finding: dict[str, Any],
    agreed: Mapping[str, Mapping[str, Any]],
    today: date,
) -> dict[str, Any]:
    """With texts, area, and where it stands: accepted until a day, or accepted too long ago."""
    name = finding["id"]
    entry = agreed.get(name) or finding.get("accepted")
    over = bool(entry) and _over(str((entry or {}).get("until") or ""), today)
    if entry and not over:
        finding["state"] = "accepted"
        finding["accepted"] = {key: entry.get(key) for key in ("id", "owner", "reason", "until")} | {
            "id": name
        }
        finding["accepted"]["until"] = str(entry["until"]) if entry.get("until") else None
    elif over:
        finding["state"] = "known"
        finding["accepted"] = None
    finding["expired"] = over
    finding["area"] = area_of(finding)
    finding["texts"] = written(finding)
    finding.setdefault("nodes", [])
    return finding


def _over(until: str, today: date) -> bool:
    """Whether the last day of an acceptance is behind us; the day itself still counts."""
    return bool(until) and date.fromisoformat(until[:10]) < today


def _remembered(previous: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """What the last document knows of findings that only the controller makes, by id: no host keeps them."""
    if previous and "remembered" in previous:
        return {str(name): dict(one) for name, one in previous["remembered"].items()}
    return {
        finding["id"]: {
            "first_seen": str(finding["first_seen"]),
            "history": [1.0],
            "class": str(finding["class"]),
        }
        for cluster in (previous or {}).get("clusters", [])
        for finding in cluster.get("findings", [])
        if finding.get("first_seen")
    }


def _looked_up(
    findings: Iterable[dict[str, Any]], remembered: Mapping[str, Mapping[str, Any]], made_at: str
) -> dict[str, Any]:
    """Sets where they stand, as a host's baseline does for its own; what is to be remembered of them."""
    kept = {}
    for finding in findings:
        before = remembered.get(finding["id"], {})
        history = list(before.get("history", []))
        finding["first_seen"] = before.get("first_seen", made_at)
        if finding["state"] == "new" and damped(history):
            finding["state"] = "known"
        value = finding.get("value") or {}
        history = [*history, figure(value)][-HISTORY:]
        finding["runs"] = told_of(history, value)
        kept[finding["id"]] = {
            "first_seen": finding["first_seen"],
            "history": history,
            "class": finding["class"],
        }
    return kept


def _gone(
    remembered: Mapping[str, Mapping[str, Any]], here: Mapping[str, Any], groups: Iterable[Group]
) -> dict[str, Any]:
    """Those that were there in one of the last runs and are not now; a run that did not ask tells nothing of them."""
    answered = {name for group in groups for host in group.hosts for name in host.answered()}
    kept = {}
    for name, one in remembered.items():
        if name in here:
            continue
        report = _REPORTS.get(str(one.get("class", ""))[:2])
        unasked = report is not None and report not in answered
        history = list(one["history"]) if unasked else [*one["history"], None][-HISTORY:]
        if any(part is not None for part in history):
            kept[name] = {**one, "history": history}
    return kept


def _weight(finding: Mapping[str, Any]) -> tuple[Any, ...]:
    """Worst first, accepted ones last; then by what it costs, then by name."""
    impact = finding.get("impact") or {}
    return (
        finding["state"] == "accepted",
        SEVERITIES.index(finding["severity"]),
        -(impact.get("load_share") or 0),
        -(impact.get("bytes") or 0),
        finding["class"],
        finding["id"],
    )


def _node(host: Host) -> dict[str, Any]:
    reports: dict[str, Any] = {}
    for name, result in host.results.items():
        kept = {key: result[key] for key in ("databases", "facts", "cost", "baseline") if result.get(key)}
        reports[name] = {"error": host.why(name), **kept}
    lost = host.state in (UNREACHABLE, FAILED)
    errors = [report["error"] for report in reports.values() if report["error"]]
    return {
        "name": host.name,
        "state": host.state,
        "error": (errors[0] if errors else "It was not asked.") if lost else None,
        "node": dict(host.node) if host.node else None,
        "reports": reports,
    }


def _not_seen(group: Group) -> list[dict[str, Any]]:
    """What is missing of a cluster: hosts, reports of hosts, parts of reports, and standbys that nobody listed."""
    gaps: list[dict[str, Any]] = []
    for host in group.hosts:
        if host.state in (UNREACHABLE, FAILED):
            why = _node(host)["error"]
            error = next(filter(None, map(host.error, host.results)), None)
            gaps.append(_gap(group, host.name, None, unseen(host.state, str(why), error)))
            continue
        for report, result in host.results.items():
            reason = host.why(report)
            if reason:
                gaps.append(
                    _gap(group, host.name, report, unseen(f"no_{report}", reason, host.error(report)))
                )
            gaps += [_gap(group, host.name, report, blind(each)) for each in result.get("not_seen") or []]
    gaps += [_gap(group, name, None, unseen("stranger", name)) for name in group.strangers()]
    # Two reports of a host that are kept from the same thing for the same reason are one gap, of the first of them.
    once = {(gap["node"], gap["what"], gap["why"], gap["remedy"]): gap for gap in reversed(gaps)}
    return list(reversed(once.values()))


def _gap(group: Group, node: str, report: str | None, texts: dict[str, dict[str, str]]) -> dict[str, Any]:
    return {"cluster": group.name, "node": node, "report": report, **texts["en"], "texts": texts}


def _summary(clusters: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    open_findings = [
        finding for cluster in clusters for finding in cluster["findings"] if finding["state"] != "accepted"
    ]
    nodes = [node for cluster in clusters for node in cluster["nodes"]]
    counted = sum(len(cluster["findings"]) for cluster in clusters)
    return {
        "clusters": len(clusters),
        "nodes": len(nodes),
        "nodes_seen": sum(node["state"] not in (UNREACHABLE, FAILED) for node in nodes),
        "findings": len(open_findings),
        "by_severity": {
            severity: sum(finding["severity"] == severity for finding in open_findings)
            for severity in SEVERITIES
        },
        "worst": next(
            (name for name in SEVERITIES if any(finding["severity"] == name for finding in open_findings)),
            INFO,
        ),
        "new": sum(finding["state"] == "new" for finding in open_findings),
        "accepted": counted - len(open_findings),
        "reclaimable_bytes": sum(_droppable(clusters).values()),
    }


def _droppable(clusters: Sequence[Mapping[str, Any]]) -> dict[tuple[str, ...], int]:
    """Bytes by index: one that is redundant and unused is dropped once."""
    found: dict[tuple[str, ...], int] = {}
    for cluster in clusters:
        for finding in cluster["findings"]:
            if finding["class"] not in _DROPS or not finding["action"]:
                continue
            if finding["state"] == "accepted" or finding["grade"] == "insufficient":
                continue
            thing = finding["object"] or {}
            names = (finding["database"], thing.get("schema"), thing.get("name"))
            key = (str(cluster["name"]), *map(str, names))
            found[key] = max(found.get(key, 0), int((finding.get("impact") or {}).get("bytes") or 0))
    return found
