# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a restore really cost, for the evidence: time until the cluster was open again, and work that is lost. Pure.

A figure that nobody can know is None, with what it is at most: a host that is gone may have acknowledged commits up to
its last moment, and no later than somebody asked for the restore.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from ..core.clock import parse_utc
from .plan import RestorePlan


def rto_seconds(data: Mapping[str, Any]) -> float | None:
    """From the first command, planning included, to the first connection that could be made; None before that."""
    asked, opened = data.get("asked_at"), data.get("open_at")
    if asked is None or opened is None:
        return None
    return round((parse_utc(str(opened)) - parse_utc(str(asked))).total_seconds(), 3)


def rpo(plan: RestorePlan, data: Mapping[str, Any]) -> dict[str, Any]:
    """``restored``: the last commit that is there; ``known``: the newest that the old cluster is known to have made.

    ``seconds``: between the two, None where the old cluster may have made others; then ``at_most_seconds`` is to the
    moment from which on it cannot have (its stop, or the first command). ``by_target``: an earlier one was asked for.
    """
    restored, known = plan.proof.get("last_commit"), plan.proof.get("newest_reachable")
    newest = known or restored
    latest = plan.proof["target"]["kind"] == "latest"
    whole = _archived_to_the_end(plan, latest)
    end = max(filter(None, (_until(plan, data), _time(newest))), default=None)
    return {
        "restored": restored,
        "known": newest,
        "by_target": not latest,
        "complete": whole,
        "seconds": _between(restored, _time(newest)) if whole else None,
        "at_most_seconds": _between(restored, _time(newest) if whole else end),
    }


def _archived_to_the_end(plan: RestorePlan, latest: bool) -> bool:
    """Whether all that the old cluster wrote is in the archive: it was stopped first, and nothing was given up."""
    live = plan.live
    there = bool(live.get("exists")) and not live.get("stranger") and not live.get("unarchived_segments")
    return latest and there and not plan.request.get("accept_unarchived")


def _until(plan: RestorePlan, data: Mapping[str, Any]) -> datetime | None:
    """When the old cluster had stopped, or had to be gone for somebody to ask."""
    if plan.live.get("running") and data.get("down_since"):
        return datetime.fromtimestamp(float(data["down_since"]), timezone.utc)
    return parse_utc(str(data["asked_at"])) if data.get("asked_at") else None


def _time(commit: Mapping[str, Any] | None) -> datetime | None:
    return parse_utc(str(commit["time"])) if commit else None


def _between(restored: Mapping[str, Any] | None, end: datetime | None) -> float | None:
    """Never less than nothing: the clock of a lost host may have been ahead."""
    begin = _time(restored)
    if begin is None or end is None:
        return None
    return round(max(0.0, (end - begin).total_seconds()), 3)
