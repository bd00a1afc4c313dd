# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a report says of one object: stable in its name, graded by its evidence, with what to do and how to undo it.

Made by pure functions over facts; merged, filtered and rendered on the controller. Texts are keys with values
(``says``, ``missing``), so that one finding is read in every language.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

CRITICAL, HIGH, MEDIUM, LOW, INFO = "critical", "high", "medium", "low", "info"
#: From worst to harmless.
SEVERITIES = (CRITICAL, HIGH, MEDIUM, LOW, INFO)
MEASURED, VALIDATED, HEURISTIC, INSUFFICIENT = "measured", "validated", "heuristic", "insufficient"
#: From the best evidence to none.
GRADES = (MEASURED, VALIDATED, HEURISTIC, INSUFFICIENT)
#: Where a finding stands against the baseline.
STATES = ("new", "known", "accepted")
#: Findings without a place in a set are done last.
NO_ORDER = 1_000_000


def identify(name: str, system_id: str, database: str, thing: Mapping[str, Any]) -> str:
    """The id of a finding: of its class, its cluster and the object's names; never of an oid or a figure.

    The same object on two standbys of one cluster has one id, and a rebuilt index keeps its own.
    """
    identity = [name, str(system_id), database, {key: thing[key] for key in sorted(thing)}]
    text = json.dumps(identity, sort_keys=True, ensure_ascii=True, default=str)
    return f"{name.lower()}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


@dataclass(frozen=True)
class Window:
    """What a figure was counted over, by the server's clock, and why it begins where it begins."""

    since: str
    until: str
    seconds: float
    why: str

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {"since": self.since, "until": self.until, "seconds": self.seconds, "why": self.why}


@dataclass(frozen=True)
class Says:
    """Words by their key, with what is filled in; ``report/words`` makes texts of them."""

    key: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {"key": self.key, "values": dict(self.values)}


@dataclass(frozen=True)
class Finding:
    """One finding. ``name`` is the class of the catalogue (``IX02``); ``thing`` holds names only, and is the object's
    identity; ``value`` and ``impact`` carry units in their keys; ``action`` and ``undo`` are exact SQL, in order."""

    name: str
    system_id: str
    severity: str
    grade: str
    database: str
    thing: Mapping[str, Any]
    says: Says
    nodes: tuple[str, ...] = ()
    window: Window | None = None
    value: Mapping[str, Any] = field(default_factory=dict)
    threshold: Mapping[str, Any] = field(default_factory=dict)
    impact: Mapping[str, Any] = field(default_factory=dict)
    action: tuple[str, ...] = ()
    undo: tuple[str, ...] = ()
    order: int = NO_ORDER
    missing: tuple[Says, ...] = ()
    first_seen: str | None = None
    state: str = "new"
    accepted: Mapping[str, Any] | None = None
    #: In how many of the last runs it was there, with what figures: ``seen``, ``of``, ``key``, ``values``.
    runs: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES or self.grade not in GRADES or self.state not in STATES:
            raise ValueError(f"{self.name}: {self.severity}, {self.grade}, {self.state}")
        if self.grade == INSUFFICIENT and not self.missing:
            raise ValueError(f"{self.name}: insufficient evidence that does not say what is missing")

    @property
    def id(self) -> str:
        """Stable over runs, nodes and rebuilt objects."""
        return identify(self.name, self.system_id, self.database, self.thing)

    def stand(
        self,
        first_seen: str,
        *,
        known: bool,
        accepted: Mapping[str, Any] | None = None,
        runs: Mapping[str, Any] | None = None,
    ) -> Finding:
        """The same, with where it stands against the baseline."""
        state = "accepted" if accepted else "known" if known else "new"
        return replace(self, first_seen=first_seen, state=state, accepted=accepted, runs=runs)

    def to_dict(self) -> dict[str, Any]:
        """JSON values, all keys always there."""
        return {
            "id": self.id,
            "class": self.name,
            "system_id": self.system_id,
            "severity": self.severity,
            "grade": self.grade,
            "database": self.database,
            "object": dict(self.thing),
            "nodes": list(self.nodes),
            "window": self.window.to_dict() if self.window else None,
            "value": dict(self.value),
            "threshold": dict(self.threshold) or None,
            "impact": {
                "bytes": None,
                "writes_per_second": None,
                "load_share": None,
                **self.impact,
            },
            "action": list(self.action),
            "undo": list(self.undo),
            "order": self.order,
            "missing": [word.to_dict() for word in self.missing],
            "says": self.says.to_dict(),
            "first_seen": self.first_seen,
            "state": self.state,
            "accepted": dict(self.accepted) if self.accepted else None,
            "runs": dict(self.runs) if self.runs else None,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Finding:
        """Back from :meth:`to_dict`."""
        window = data.get("window")
        return cls(
            name=data["class"],
            system_id=data["system_id"],
            severity=data["severity"],
            grade=data["grade"],
            database=data["database"],
            thing=data["object"],
            says=Says(data["says"]["key"], data["says"]["values"]),
            nodes=tuple(data["nodes"]),
            window=Window(**window) if window else None,
            value=data["value"],
            threshold=data["threshold"] or {},
            impact=data["impact"],
            action=tuple(data["action"]),
            undo=tuple(data["undo"]),
            order=data["order"],
            missing=tuple(Says(word["key"], word["values"]) for word in data["missing"]),
            first_seen=data["first_seen"],
            state=data["state"],
            accepted=data["accepted"],
            runs=data.get("runs"),
        )


def ranked(findings: Iterable[Finding]) -> list[Finding]:
    """Worst first, then by evidence, by what it costs, and by name, so that two runs give one order."""

    def weight(finding: Finding) -> tuple[Any, ...]:
        impact = finding.impact
        return (
            SEVERITIES.index(finding.severity),
            GRADES.index(finding.grade),
            -(impact.get("load_share") or 0),
            -(impact.get("bytes") or 0),
            finding.name,
            finding.order,
            finding.id,
        )

    return sorted(findings, key=weight)


@dataclass(frozen=True)
class NotSeen:
    """What could not be looked at: never silent, never the end of the report. ``says`` has ``what`` in its values."""

    says: Says

    def to_dict(self) -> dict[str, Any]:
        """In English for those who read JSON, with the key for other languages."""
        from .words.say import not_seen

        return {**not_seen(self.says.key, self.says.values, "en"), "says": self.says.to_dict()}
