# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""From hosts to files: the document is made, compared with the last one, and written beside it. Controller only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ...module_utils._engine.core.clock import format_utc
from ...module_utils._engine.core.errors import KeeperError
from ...module_utils._engine.core.files import read_json, write_durable
from .document import files
from .hosts import Host
from .labels import catalogue
from .merge import merge

#: The variables in which the playbook registers what each module answered.
REGISTERED = {
    "reached": "__report_reached",
    "index": "__report_index",
    "query": "__report_query",
    "health": "__report_health",
    "benchmark": "__report_benchmark",
}
#: Statements are in it, and names of everything.
_MODE = 0o600


def make(
    hosts: Sequence[Host],
    directory: Path,
    *,
    now: datetime,
    language: str = "auto",
    title: str = "",
    fail_on: Sequence[str] = (),
    accepted: Sequence[Mapping[str, Any]] = (),
    keep: bool = True,
) -> dict[str, Any]:
    """Write the report; what it says in short.

    ``changed`` says that something else is in it than in the last one: figures alone are no change. With ``keep``
    false nothing is written. Refused ``report-rule-unknown``; OSError where the directory cannot be written.
    """
    previous = _previous(directory / "report.json")
    document = merge(
        hosts,
        made_at=format_utc(now),
        today=now.date(),
        language="en" if language == "auto" else language,
        title=title,
        fail_on=fail_on,
        accepted=accepted,
        previous=previous,
    )
    contents = files(document, follow=language == "auto")
    if keep:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in contents.items():
            write_durable(str(directory / name), text.encode("utf-8", "replace"), _MODE)
    return {
        "changed": previous is None or essence(document) != essence(previous),
        "files": {name: str(directory / name) for name in contents},
        "summary": document["summary"],
        "gate": document["gate"],
        "not_seen": [
            {key: gap[key] for key in ("cluster", "node", "what", "why")} for gap in document["not_seen"]
        ],
        "lines": lines(document),
    }


def essence(document: Mapping[str, Any]) -> Any:
    """What makes two reports the same to those who act on them."""
    return (
        sorted(
            (
                cluster["name"],
                finding["id"],
                finding["severity"],
                finding["grade"],
                finding["state"] == "accepted",
            )
            for cluster in document["clusters"]
            for finding in cluster["findings"]
        ),
        sorted((str(gap["cluster"]), gap["node"], gap["what"]) for gap in document["not_seen"]),
        document["gate"]["fail_on"],
        document["gate"]["passed"],
    )


def lines(document: Mapping[str, Any]) -> list[str]:
    """The report in a few lines, for a terminal."""
    words = catalogue(document["language"])
    summary, gate = document["summary"], document["gate"]
    counts = ", ".join(
        f"{count} {words['term_' + name]}" for name, count in summary["by_severity"].items() if count
    )
    told = [
        words["count_open"].format(count=summary["findings"]) + (f" ({counts})" if counts else ""),
        words["count_new"].format(count=summary["new"]),
        words["count_seen"].format(part=summary["nodes_seen"], whole=summary["nodes"]),
    ]
    told += [
        f"{gap['node']}: {gap['texts'][document['language']]['what']}: {_short(gap['why'])}"
        for gap in _gone(document)
    ]
    if gate["fail_on"] and gate["passed"]:
        told.append(words["gate_passed"].format(rules=", ".join(gate["fail_on"])))
    elif gate["fail_on"]:
        told.append(words["gate_failed"].format(count=len(gate["failures"])))
        told += [
            f"  {failed['rule']}: {failed['id'] or ''} {failed['node'] or failed['cluster']}"
            for failed in gate["failures"][:20]
        ]
    return told


def _gone(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    lost = {
        (cluster["name"], node["name"])
        for cluster in document["clusters"]
        for node in cluster["nodes"]
        if node["state"] in ("unreachable", "failed")
    }
    return [gap for gap in document["not_seen"] if (gap["cluster"], gap["node"]) in lost]


def _short(text: str) -> str:
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= 160 else one_line[:159] + "…"


def _previous(path: Path) -> dict[str, Any] | None:
    """The last document; None where there is none that can be read: a damaged one is replaced."""
    if not path.is_file():
        return None
    try:
        document = read_json(str(path), attempted="read the last report")
    except KeeperError:
        return None
    return document if isinstance(document, dict) and document.get("format") == 1 else None


def plain(value: Any) -> Any:
    """The same without what Ansible attaches to values."""
    return json.loads(json.dumps(value, default=str))
