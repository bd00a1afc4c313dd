# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""How far the live cluster's WAL is known to reach: the newest commit must not be looked for in less.

An archive that lost its end, or was never given it, looks like one that ends there. Only the live cluster knows better.
"""

from __future__ import annotations

from ..cluster.controldata import ControlData
from ..core.errors import Failed
from ..wal.lsn import format_lsn, parse_lsn
from ..wal.records import skip_header
from .plan import RestorePlan
from .state import LiveCluster

_IN_RECOVERY = ("in archive recovery", "shut down in recovery")


def known_end(control: ControlData) -> int:
    """Up to where there certainly is WAL that an archive which is whole has, too.

    Every segment before that of the last checkpoint was finished. A server that archives and is stopped in order ends
    its segment before it writes the last checkpoint (source: ShutdownXLOG in xlog.c), so that nothing else is in the
    last one; one that does not archive (archive_mode is off) writes on, and what is before the checkpoint nobody else
    has. A server in recovery ends no segment, and knows up to where it has replayed.
    """
    size = control.wal_segment_size
    begin = control.checkpoint_lsn - control.checkpoint_lsn % size
    if control.state in _IN_RECOVERY:
        return max(begin, control.min_recovery_end_lsn)
    if control.state == "shut down" and control.checkpoint_lsn > skip_header(begin, size):
        return control.checkpoint_lsn
    return begin


def require_nothing_new(plan: RestorePlan, live: LiveCluster) -> None:
    """For ``latest``: the cluster, which was stopped before that was planned, is still where it was.

    Between the plan and the swap lies all of staging and replay, or a run that was killed. Whoever has started the
    cluster meanwhile (a person, or the boot of the host) may have committed what the copy does not hold.
    Raises :class:`Failed` (``live-wal-not-archived``).
    """
    control, known = live.control, plan.live["timeline"]
    if plan.proof["target"]["kind"] != "latest" or plan.request.get("accept_unarchived"):
        return
    if control is None or known is None or plan.live["stranger"]:
        return
    planned = parse_lsn(plan.proof["end_lsn"])
    rests = not live.status.running and control.state == "shut down" and control.timeline == known
    if rests and (known != plan.proof["branch"] or known_end(control) <= planned):
        return
    now = "is running" if live.status.running else f"says {control.state!r}"
    raise Failed(
        "live-wal-not-archived",
        attempted=f"put the copy that ends at {format_lsn(planned)} in the place of {plan.data_directory}",
        happened=(
            f"the live cluster was started again after it had been stopped for this restore: it {now}, with a "
            f"checkpoint at {format_lsn(control.checkpoint_lsn)} on timeline {control.timeline}; what was committed "
            "since would be lost, so nothing was swapped"
        ),
        remedy=(
            f"Abandon this restore (dbkeeper undo --cluster {plan.cluster} --confirm {plan.cluster}) and ask for the "
            "latest again: it is planned anew. Keep others from starting the cluster meanwhile."
        ),
        details={"live_lsn": format_lsn(control.checkpoint_lsn), "planned_lsn": plan.proof["end_lsn"]},
    )
