# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What is known of the runs of a cluster: the history, the stretch of failing pushes, and what is usual."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ..core.errors import Failed
from .history import history_path, read_runs
from .pushes import as_run, failing
from .trends import chosen, trends


def all_runs(directory: str) -> list[dict[str, Any]]:
    """Every run, oldest first, with archiving that fails now as the last. Raises :class:`Failed`
    ``history-unreadable``."""
    try:
        runs = read_runs(directory)
    except OSError as error:
        raise Failed(
            "history-unreadable",
            attempted="read the history of runs",
            happened=f"{history_path(directory)}: {error.strerror}",
            remedy="Let the cluster's owner read it, or move it aside: a new one is begun by the next run.",
        ) from error
    stretch = failing(directory)
    return runs if stretch is None else [*runs, as_run(stretch)]


def history_of(
    directory: str,
    *,
    operation: str | None = None,
    since: datetime | None = None,
    last: int | None = None,
) -> dict[str, Any]:
    """``runs`` (oldest first) as :func:`trends.chosen` takes them, ``trends`` of all that are known.

    Scheduled runs that found nothing due are left out: what makes up for missed ones comes each hour.
    """
    runs = [run for run in all_runs(directory) if not (run.get("idle") and run.get("scheduled"))]
    of_operation = chosen(runs, operation=operation)
    return {
        "runs": chosen(runs, operation=operation, since=since, last=last),
        "trends": trends(of_operation),
    }
