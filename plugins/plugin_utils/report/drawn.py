# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A document as the page needs it: one list of findings, what repeats kept once, and of each node's facts what is
drawn. A browser reads it before it shows anything, so that each byte counts. Controller only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .texts import LANGUAGES, failed

_PARTS = ("title", "what", "why", "remedy", "missing")
_KEPT = (
    "id",
    "class",
    "area",
    "severity",
    "grade",
    "database",
    "object",
    "nodes",
    "window",
    "value",
    "values",
    "threshold",
    "impact",
    "order",
    "first_seen",
    "state",
    "accepted",
    "expired",
    "runs",
)
#: The columns of a packed finding, see :class:`Values`.
COLUMNS = (*_KEPT, "cluster", "statement", "action", "undo", *LANGUAGES)
#: Runs of one node that are drawn.
_RUNS = 60
#: Statements of one node that are drawn; the rest is in the JSON.
STATEMENTS = 40


class Strings:
    """Texts by number, each once: findings of one class share most of theirs."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        """The text's number."""
        if text not in self._numbers:
            self._numbers[text] = len(self.all)
            self.all.append(text)
        return self._numbers[text]


class Values:
    """Values by number, each once: windows, thresholds, words, lists of nodes are the same in many findings."""

    def __init__(self) -> None:
        self.all: list[Any] = []
        self._numbers: dict[str, int] = {}

    def number(self, value: Any) -> int:
        """The value's number."""
        key = json.dumps(value, default=str, ensure_ascii=False)
        if key not in self._numbers:
            self._numbers[key] = len(self.all)
            self.all.append(value)
        return self._numbers[key]

    def packed(self, finding: Mapping[str, Any]) -> list[int]:
        """A finding as a number for each of its columns: -1 where it has none, and no more at its end."""
        row = [self.number(finding[name]) if name in finding else -1 for name in COLUMNS]
        while row and row[-1] == -1:
            row.pop()
        return row


def unpacked(page: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The findings of a page as its script reads them."""
    return [
        {name: page["values"][number] for name, number in zip(page["columns"], row) if number >= 0}
        for row in page["findings"]
    ]


def drawn(document: Mapping[str, Any]) -> dict[str, Any]:
    """What is embedded in the page."""
    strings, values = Strings(), Values()
    findings, statements, benchmarks = [], [], []
    clusters = []
    for number, cluster in enumerate(document["clusters"]):
        told = _told(cluster)
        findings += [
            values.packed(_finding(finding, number, strings, told)) for finding in cluster["findings"]
        ]
        nodes = []
        for node in cluster["nodes"]:
            nodes.append(_node(node))
            statements += [
                {**one, "cluster": number, "node": node["name"]} for one in _statements(node, strings)
            ]
            benchmarks += [
                {**_run(run), "cluster": number, "node": node["name"]}
                for run in ((node["reports"].get("benchmark") or {}).get("facts") or {}).get("runs") or []
            ]
        clusters.append({"name": cluster["name"], "system_id": cluster["system_id"], "nodes": nodes})
    return {
        **{key: document[key] for key in ("made_at", "language", "title", "summary", "gate")},
        "clusters": clusters,
        "columns": list(COLUMNS),
        "findings": findings,
        "values": values.all,
        "statements": statements,
        "benchmarks": benchmarks,
        "not_seen": [
            {key: gap[key] for key in ("cluster", "node", "report", "texts")} for gap in document["not_seen"]
        ],
        "strings": strings.all,
    }


def _told(cluster: Mapping[str, Any]) -> dict[str, str]:
    """The texts of a cluster's statements, by their ids."""
    facts = [(node["reports"].get("query") or {}).get("facts") or {} for node in cluster["nodes"]]
    return {
        str(one["id"]): str(one["text"])
        for each in facts
        for one in each.get("statements") or []
        if one.get("id") and one.get("text")
    }


def _finding(
    finding: Mapping[str, Any], cluster: int, strings: Strings, told: Mapping[str, str]
) -> dict[str, Any]:
    kept = {key: finding[key] for key in _KEPT if finding.get(key) not in (None, {}, [], False)}
    if "impact" in kept:
        kept["impact"] = {key: part for key, part in kept["impact"].items() if part}
    named = [told[str(name)] for name in (finding["object"] or {}).values() if str(name) in told]
    if named:
        kept["statement"] = strings.number(named[0])
    return {
        **kept,
        "cluster": cluster,
        "action": [strings.number(line) for line in finding["action"]],
        "undo": [strings.number(line) for line in finding["undo"]],
        **{
            language: [strings.number(finding["texts"][language].get(part, "")) for part in _PARTS]
            for language in LANGUAGES
        },
    }


def _node(node: Mapping[str, Any]) -> dict[str, Any]:
    facts = node["node"] or {}
    query = (node["reports"].get("query") or {}).get("facts") or {}
    costs = [report.get("cost") or {} for report in node["reports"].values()]
    return {
        "name": node["name"],
        "state": node["state"],
        "error": node["error"],
        **{key: facts.get(key) for key in ("role", "server_version_num", "started_at", "taken_at")},
        "server_seconds": round(sum(float(cost.get("server_seconds") or 0) for cost in costs), 3),
        "temp_bytes": sum(int(cost.get("temp_bytes") or 0) for cost in costs),
        "window": query.get("window"),
        "time": query.get("time") or {},
        "history": [
            {
                "sessions": run.get("sessions"),
                "calls": run["calls"] / run["seconds"] if run.get("calls") and run.get("seconds") else None,
            }
            for run in (query.get("history") or [])[-_RUNS:]
        ],
    }


def _run(run: Mapping[str, Any]) -> dict[str, Any]:
    """A workload test; of one that failed, why, in both languages."""
    if not run.get("error"):
        return dict(run)
    return {**run, "error": failed(str(run.get("error_code") or ""), str(run["error"]))}


def _statements(node: Mapping[str, Any], strings: Strings) -> list[dict[str, Any]]:
    facts = (node["reports"].get("query") or {}).get("facts") or {}
    return [
        {
            **{key: one.get(key) for key in ("queryid", "database", "user", "calls", "mean_ms", "total_ms")},
            "share": one.get("load_share") or 0,
            "text": strings.number(str(one.get("text") or "")),
            "history": one.get("history") or [],
        }
        # What a function ran is in the statement that called it.
        for one in [one for one in facts.get("statements") or [] if one.get("toplevel", True)][:STATEMENTS]
    ]
