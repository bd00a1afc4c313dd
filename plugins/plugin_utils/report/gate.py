# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a run fails on: rules by name, held against a report. Nothing else makes a report fail. Controller only."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ...module_utils._engine.core.errors import Refused
from ...module_utils._engine.report.finding import SEVERITIES

#: Classes of the catalogue by the names that people give them.
NAMED: dict[str, tuple[str, ...]] = {
    "invalid_index": ("IX01",),
    "duplicate_index": ("IX02",),
    "redundant_index": ("IX03",),
    "unused_index": ("IX04",),
    "bloated_index": ("IX06",),
    "unindexed_fk": ("IX07",),
    "missing_index": ("IX08",),
    "index_drift": ("IX13",),
    "collation_mismatch": ("IX15",),
    "regression": ("QY02",),
    "plan_change": ("QY15",),
}
#: Of the report as a whole.
WHOLE = ("new", "expired", "not_seen", "unreachable")
_CLASS = re.compile(r"[A-Z]{2}[0-9]{2}[a-z]?")
_NEW = "new_"


def known_rules() -> list[str]:
    """Every rule by its name, without classes and without ``new_``."""
    return [*SEVERITIES[:-1], *NAMED, *WHOLE]


def checked(rules: Iterable[str]) -> list[str]:
    """The rules, each once. Refused ``report-rule-unknown``."""
    found: list[str] = []
    for rule in rules:
        plain = rule[len(_NEW) :] if rule.startswith(_NEW) else rule
        whole = plain in WHOLE and plain == rule
        if not (whole or plain in SEVERITIES or plain in NAMED or _CLASS.fullmatch(plain)):
            near = difflib.get_close_matches(rule, [*known_rules(), *(_NEW + name for name in NAMED)], 1)
            raise Refused(
                "report-rule-unknown",
                attempted="read report_fail_on",
                happened=f"no rule is called '{rule}'",
                remedy=(f"Did you mean '{near[0]}'? " if near else "")
                + f"Rules: {', '.join(known_rules())}, a class such as IX07; new_ before one for new findings.",
                details={"rule": rule, "nearest": near[0] if near else None},
            )
        if rule not in found:
            found.append(rule)
    return found


def judge(rules: Iterable[str], document: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict: the rules, whether all passed, and each thing that failed one.

    Accepted findings fail nothing, nor do those whose evidence is insufficient: a gate must be right.
    """
    wanted = checked(rules)
    failures: list[dict[str, Any]] = []
    for rule in wanted:
        if rule == "not_seen":
            failures += [_failure(rule, None, gap["cluster"], gap["node"]) for gap in document["not_seen"]]
        elif rule == "unreachable":
            failures += [
                _failure(rule, None, cluster["name"], node["name"])
                for cluster in document["clusters"]
                for node in cluster["nodes"]
                if node["state"] in ("unreachable", "failed")
            ]
        else:
            failures += [
                _failure(rule, finding["id"], cluster["name"], ", ".join(finding["nodes"]) or None)
                for cluster in document["clusters"]
                for finding in cluster["findings"]
                if breaks(rule, finding)
            ]
    return {"fail_on": wanted, "passed": not failures, "failures": failures}


def breaks(rule: str, finding: Mapping[str, Any]) -> bool:
    """Whether a finding fails a rule."""
    if finding["state"] == "accepted" or finding["grade"] == "insufficient":
        return False
    if rule == "new":
        return bool(finding["state"] == "new")
    if rule == "expired":
        return bool(finding.get("expired"))
    if rule.startswith(_NEW):
        if finding["state"] != "new":
            return False
        rule = rule[len(_NEW) :]
    if rule in SEVERITIES:
        return SEVERITIES.index(finding["severity"]) <= SEVERITIES.index(rule)
    return finding["class"] in NAMED.get(rule, (rule,))


def _failure(rule: str, name: str | None, cluster: str | None, node: str | None) -> dict[str, Any]:
    return {"rule": rule, "id": name, "cluster": cluster, "node": node}
