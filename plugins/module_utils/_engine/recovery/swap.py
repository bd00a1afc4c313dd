# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The swap: stop, rename, rename, start. Every step can be done again, and gone back on, from either side.

Downtime is what happens here; nothing here depends on the size of the database.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from datetime import datetime, timezone

from ..cluster.config import ClusterConfig
from ..cluster.instance import Instance
from ..cluster.psql import query
from ..core.clock import format_utc
from ..core.errors import Failed, KeeperError
from ..core.files import rename_durable
from ..core.journal import Journal
from ..wal.lsn import format_lsn
from . import steps
from .live_end import require_nothing_new
from .plan import RestorePlan
from .state import live_cluster

Do = Callable[[str, Callable[[], None]], None]
_RELIEF_SECONDS = 120.0


def swap(plan: RestorePlan, config: ClusterConfig, journal: Journal, do: Do) -> None:
    """Replace the live data directory by the proven one; the old one is kept.

    Interrupted anywhere it is finished by doing the same again (fault D12). Raises :class:`Failed`
    (``new-cluster-did-not-start``, ``swap-blocked``) after having put the old one back, and ``live-wal-not-archived``
    before it is touched.
    """
    instance = Instance(config)

    def stop_live() -> None:
        require_nothing_new(plan, live_cluster(config))
        if os.path.lexists(plan.data_directory):
            # Seen before anything stops, so that nobody waits for what cannot be done.
            _require_free(plan.data_directory, plan.kept_directory)
        if instance.status().running:
            _relieve(config)
        journal.note(down_since=journal.data.get("down_since") or time.time())
        if instance.status().running:
            instance.stop()
        left = live_cluster(config)
        if plan.live["stranger"]:
            return
        journal.note(unarchived_segments=list(left.ready_segments))
        if left.control is not None:
            end = format_lsn(left.control.checkpoint_lsn)
            journal.note(old_timeline=left.control.timeline, old_end_lsn=end)

    def keep_old() -> None:
        try:
            move(plan.data_directory, plan.kept_directory)
        except Failed as error:
            raise _serve_again(instance, journal, error) from error
        journal.note(kept_directory=plan.kept_directory if os.path.isdir(plan.kept_directory) else None)

    def place_new() -> None:
        move(plan.staging, plan.data_directory)

    def start_new() -> None:
        began = time.time()
        ready_seconds = 0.0
        try:
            if not instance.status().running:
                # Debian's pg_ctlcluster returns up to two seconds after the server has taken connections.
                ready_seconds = instance.start().ready_seconds
        except KeeperError as error:
            raise _put_back(plan, instance, journal, error) from error
        opened = began + ready_seconds
        journal.note(downtime_seconds=round(opened - float(journal.data["down_since"]), 3))
        journal.note(open_at=format_utc(datetime.fromtimestamp(opened, timezone.utc)))

    if not journal.is_done(steps.KEEP_OLD) and os.path.lexists(plan.data_directory):
        # Stopped by a run that was killed: somebody else, or the boot of the host, may have started it since.
        journal.reset(steps.STOP_LIVE)
        if instance.status().running:
            journal.note(down_since=None)
    do(steps.STOP_LIVE, stop_live)
    do(steps.KEEP_OLD, keep_old)
    do(steps.PLACE_NEW, place_new)
    do(steps.START_NEW, start_new)


def _relieve(config: ClusterConfig) -> None:
    """Have the live server write what it has in memory while it still serves: its shutdown writes what is left.

    It may well be ill, or be busy with that for longer than we wait: then it is stopped as it is.
    """
    with contextlib.suppress(KeeperError):
        query(config, "CHECKPOINT", timeout=_RELIEF_SECONDS)


def move(source: str, target: str) -> None:
    """Rename unless a run before this one has done it; never onto something."""
    if not os.path.lexists(source):
        return
    _require_free(source, target)
    rename_durable(source, target)


def _require_free(source: str, target: str) -> None:
    """Raises :class:`Failed` (``swap-blocked``) when something lies where ``source`` is to go."""
    if os.path.lexists(target):
        raise Failed(
            "swap-blocked",
            attempted=f"rename {source} to {target}",
            happened=f"{target} is there already; it was not renamed onto",
            remedy=f"Something else made {target} meanwhile: move it away and run the same command again.",
            details={"source": source, "target": target},
        )


def _serve_again(instance: Instance, journal: Journal, cause: Failed) -> Failed:
    """The old data directory could not be renamed and is in its place still: let it serve."""
    journal.reset(steps.STOP_LIVE, steps.KEEP_OLD)
    journal.note(down_since=None)
    if not journal.data.get("live_was_running"):
        return cause
    try:
        instance.start()
        after = "the old cluster is running again"
    except KeeperError as error:
        after = f"the old cluster is in its place, but does not start: {error.happened}"
    return Failed(
        cause.code,
        attempted=cause.attempted,
        happened=f"{cause.happened}; {after}",
        remedy=cause.remedy,
        details=cause.details,
    )


def _put_back(plan: RestorePlan, instance: Instance, journal: Journal, cause: KeeperError) -> Failed:
    """The new cluster does not start: go back to the old one, keep the staged copy, and say why."""
    if instance.status().running:
        instance.stop(mode="immediate")
    if os.path.isdir(plan.kept_directory) or not plan.live["exists"]:
        move(plan.data_directory, plan.staging)
        move(plan.kept_directory, plan.data_directory)
    # Settled again by the next run: the live configuration that did not start is to be mended first.
    journal.reset(steps.SETTLE, steps.STOP_LIVE, steps.KEEP_OLD, steps.PLACE_NEW, steps.START_NEW)
    journal.note(down_since=None, kept_directory=None)
    after = "the old cluster is in its place again"
    if not plan.live["exists"]:
        after = f"the proven copy is kept in {plan.work_directory}"
    if journal.data.get("live_was_running"):
        try:
            instance.start()
            after = "the old cluster is running again"
        except KeeperError as error:
            after = f"the old cluster is in its place again, but does not start either: {error.happened}"
    return Failed(
        "new-cluster-did-not-start",
        attempted="start the restored cluster in the place of the old one",
        happened=f"{cause.happened}; {after}",
        remedy="Mend what the server's words name (most often its configuration), then run the same command again.",
        details={"cause": cause.to_dict()},
    )
