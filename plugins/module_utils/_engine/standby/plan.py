# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Whether a standby follows, can follow by itself, or has to be made anew. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..core.errors import Refused
from ..wal.lsn import format_lsn
from .look import Local, Primary
from .request import StandbyRequest


@dataclass(frozen=True)
class StandbyPlan:
    """``action``: none, follow (start it, say where the primary is) or rebuild; ``reason`` in words."""

    action: str
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """JSON."""
        return {"action": self.action, "reason": self.reason}


def make_plan(
    cluster: str, request: StandbyRequest, primary: Primary, local: Local, *, confirm: str | None
) -> StandbyPlan:
    """What is to be done. A server that is no standby is replaced only by the name of its cluster.

    After a restore to an earlier moment a standby may be ahead of where its primary's new timeline begins: it has
    what the primary no longer has, and cannot go back. Source: manual, "Timelines"; StartReplication refuses a
    starting point behind the fork.

    Raises :class:`Refused`: ``standby-is-primary``.
    """
    if not local.exists:
        return StandbyPlan("rebuild", "there is no data here")
    if not local.standby and confirm != cluster:
        raise Refused(
            "standby-is-primary",
            attempted=f"make a standby of cluster {cluster} here",
            happened=f"what is here is no standby: it {'runs as' if local.running else 'is'} a server of its own",
            remedy=f"If its data may be put aside, repeat with the name of the cluster as confirmation ({cluster}).",
            details=local.to_dict(),
        )
    if local.system_id != primary.system_id:
        return StandbyPlan("rebuild", f"what is here is of another system ({local.system_id})")
    if not local.standby:
        return StandbyPlan("rebuild", "what is here was a server of its own")
    if local.streaming == primary.timeline and local.slot == request.slot and _from(request, local):
        return StandbyPlan("none", f"it streams timeline {primary.timeline}")
    fork = _fork(primary, local.timeline or 0)
    if fork is None:
        return StandbyPlan(
            "rebuild",
            f"its timeline {local.timeline} is not in the history of the primary's ({primary.timeline})",
        )
    if fork and local.end_lsn > fork:
        return StandbyPlan(
            "rebuild",
            f"it has WAL up to {format_lsn(local.end_lsn)} of timeline {local.timeline}, which the primary left at "
            f"{format_lsn(fork)}",
        )
    return StandbyPlan(
        "follow", f"it can follow from {format_lsn(local.end_lsn)} of timeline {local.timeline}"
    )


def _from(request: StandbyRequest, local: Local) -> bool:
    """Whether it streams from where it should; names and numbers of a host cannot be told apart here."""
    return local.sender is None or local.sender[1] == str(request.primary.get("port", "5432"))


def _fork(primary: Primary, timeline: int) -> int | None:
    """Where the primary's line left the timeline; 0 when it is on it still, None when it never was."""
    if timeline == primary.timeline:
        return 0
    forks = primary.history.forks if primary.history else ()
    return next((fork.lsn for fork in forks if fork.timeline == timeline), None)
