# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Which findings of a report may be acted on, and in which order: what was approved, by id, and is still true. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...core.errors import Refused
from ..finding import GRADES, VALIDATED
from ..index.creating import LIMITED, UNLIMITED

ATTEMPTED = "act on findings about indexes"
#: Classes whose evidence this host can look at again by itself, just before it acts.
SEEN_AGAIN = ("IX01", "IX02", "IX03", "IX06", "IX07", "IX09", "IX15")


@dataclass(frozen=True)
class Step:
    """One finding to act on."""

    id: str
    name: str
    database: str
    schema: str
    table: str
    index: str
    grade: str
    action: tuple[str, ...]
    undo: tuple[str, ...]
    forced: bool
    scans: int

    @property
    def drops(self) -> bool:
        """Whether it is done when the index is not there any more."""
        return next(one for one in self.action if not waits(one)).startswith("DROP")

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**self.__dict__, "action": list(self.action), "undo": list(self.undo)}


def waits(statement: str) -> bool:
    """Whether a statement only says how long a lock is waited for: sessions of ours have their own time-out."""
    return statement in (LIMITED, UNLIMITED)


def steps(
    findings: Sequence[Mapping[str, Any]],
    approved: Sequence[str],
    forced: Sequence[str],
    *,
    system_id: str,
    in_recovery: bool,
) -> list[Step]:
    """The steps in the order that is safe as a set.

    Raises :class:`Refused`: ``finding-unknown``, ``finding-other-cluster``, ``finding-without-action``,
    ``finding-without-undo``, ``finding-grade``, ``finding-on-standby``. One that is wrong ends all: an approved set was
    judged as a set.
    """
    known = {str(finding["id"]): finding for finding in findings}
    wanted = list(dict.fromkeys([*approved, *forced]))
    unknown = [one for one in wanted if one not in known]
    if unknown:
        raise _refused(
            "finding-unknown",
            f"the report has no finding {', '.join(unknown)}",
            "Take ids from the report that is given as findings; make a new report if it is old.",
            unknown,
        )
    if in_recovery and wanted:
        raise _refused(
            "finding-on-standby",
            "this server is in recovery and takes no changes",
            "Run it on the primary; standbys follow it.",
            wanted,
        )
    chosen = sorted((known[one] for one in wanted), key=lambda one: (one["order"], one["id"]))
    for finding in chosen:
        _judge(finding, finding["id"] in forced, system_id)
    return [_step(finding, finding["id"] in forced) for finding in chosen]


def _judge(finding: Mapping[str, Any], forced: bool, system_id: str) -> None:
    identity = str(finding["id"])
    if str(finding["system_id"]) != system_id:
        raise _refused(
            "finding-other-cluster",
            f"{identity} is about the cluster {finding['system_id']}, this is {system_id}",
            "Run it on the primary of the cluster that the finding is about.",
            [identity],
        )
    if not finding["action"]:
        raise _refused(
            "finding-without-action",
            f"{identity} has no SQL to act with; its evidence is {finding['grade']}",
            "Read what is missing in the finding, and make the report again when it is there.",
            [identity],
        )
    if GRADES.index(finding["grade"]) > GRADES.index(VALIDATED) and not forced:
        raise _refused(
            "finding-grade",
            f"{identity} is {finding['grade']}, less than validated",
            f"Have it validated on a restored copy, or force it by its id: force: [{identity}].",
            [identity],
        )
    # A rebuilt index needs no undo: the old one goes when the new one is whole.
    if not finding["undo"] and not str(finding["action"][0]).startswith("REINDEX"):
        raise _refused(
            "finding-without-undo",
            f"{identity} does not say how its action is undone",
            "Make the report again while nothing locks the table, so that the definition can be read.",
            [identity],
        )


def _step(finding: Mapping[str, Any], forced: bool) -> Step:
    thing = finding["object"]
    table = thing["name"] if thing["kind"] == "table" else thing.get("table", "")
    return Step(
        id=str(finding["id"]),
        name=str(finding["class"]),
        database=str(finding["database"]),
        schema=str(thing["schema"]),
        table=str(table),
        index=str(thing["name"]) if thing["kind"] == "index" else "",
        grade=str(finding["grade"]),
        action=tuple(finding["action"]),
        undo=tuple(finding["undo"]),
        forced=forced,
        scans=int((finding.get("value") or {}).get("scans") or 0),
    )


def stale(step: Step, now: Mapping[str, Mapping[str, Any]], idle: Sequence[Mapping[str, Any]]) -> str | None:
    """Why a step is no longer true, by a look just taken (``now``: id -> finding; ``idle``: the node's unused
    indexes), or None. Pure."""
    if step.name in SEEN_AGAIN:
        finding = now.get(step.id)
        if finding is None:
            return "the finding is not there any more"
        if tuple(finding["action"]) != step.action or tuple(finding["undo"]) != step.undo:
            return "the index or its table is not as it was when the report was made"
        return None
    if step.name == "IX04":
        row = next((one for one in idle if (one["schema"], one["index"]) == (step.schema, step.index)), None)
        if row is None:
            return "the index is not there any more, or something needs it now"
        if row["guard"] not in (None, "expression"):
            return f"it is needed now: {row['guard']}"
        if row["scans"] > step.scans:
            return f"it was scanned since the report was made: {row['scans']} times, {step.scans} then"
        if tuple(row["action"]) != step.action or tuple(row["undo"]) != step.undo:
            return "the index is not as it was when the report was made"
    return None


def _refused(code: str, happened: str, remedy: str, ids: Sequence[str]) -> Refused:
    return Refused(code, attempted=ATTEMPTED, happened=happened, remedy=remedy, details={"ids": list(ids)})
