# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Making a standby: a base backup beside the data directory, a swap by rename, and proof that it streams.

The old data directory is kept. A run that is killed is finished by the next one: what is staged without being whole
is made again, what is renamed stays renamed.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.instance import Instance
from ..cluster.psql import query
from ..core.clock import label_time, utc_now
from ..core.errors import Failed, KeeperError, Refused
from ..core.files import fsync_file, make_directory, remove_tree, sync_filesystem
from ..core.journal import Journal
from ..core.locks import locked
from ..core.progress import Progress
from ..core.run import run
from ..recovery.swap import move
from ..wal.lsn import format_lsn
from .look import Local, Primary, ask, look_at_primary, look_here, passfile
from .plan import StandbyPlan, make_plan
from .request import StandbyRequest

STAGE, STOP, KEEP_OLD, PLACE_NEW, START, PROVE = ("stage", "stop", "keep-old", "place-new", "start", "prove")
STEPS = (STAGE, STOP, KEEP_OLD, PLACE_NEW, START, PROVE)
_MARKER = ".dbkeeper-standby-"
_POLL_SECONDS = 0.1
#: SQLSTATE of what is there already (manual, "PostgreSQL Error Codes").
_DUPLICATE_OBJECT = " 42710: "


def make_standby(
    config: ClusterConfig, request: StandbyRequest, *, confirm: str | None = None, check: bool
) -> dict[str, Any]:
    """Have this host stream from the primary, by the least that does it; no change when it streams already.

    Raises what :func:`look_at_primary`, :func:`look_here` and :func:`make_plan` raise; :class:`Refused`
    (``busy``); :class:`Failed`: ``standby-does-not-stream``, ``program-failed`` (pg_basebackup's words).
    """
    attempted = f"make a standby of cluster {config.cluster}"
    if check:
        primary, local = look_at_primary(config, request), look_here(config)
        plan = make_plan(config.cluster, request, primary, local, confirm=confirm)
        return _result(plan, primary, local, executed=False)
    make_directory(config.state_directory)
    with contextlib.ExitStack() as held:
        for name in ("standby", "restore", "configuration"):
            held.enter_context(
                locked(f"{config.state_directory}/{name}.lock", "making a standby", attempted=attempted)
            )
        _no_restore_half_done(config, attempted)
        primary = look_at_primary(config, request)
        journal = Journal.load(f"{config.state_directory}/standby.journal.json", attempted=attempted)
        if journal is None or journal.state != "running" or journal.identity != _identity(primary):
            journal = None
        # Between two renames nothing is here: the one that was meant then is meant now.
        if journal is not None and journal.is_done(STOP):
            plan = StandbyPlan("rebuild", str(journal.data["reason"]))
        else:
            plan = make_plan(config.cluster, request, primary, look_here(config), confirm=confirm)
        before = time.monotonic()
        kept = None
        if plan.action == "none":
            _prove(config, primary, request.patience_seconds)
        if plan.action == "follow":
            plan = _follow(config, request, primary, plan)
        if plan.action == "rebuild":
            kept = _rebuild(config, request, primary, plan, journal)
        result = _result(plan, primary, look_here(config), executed=plan.action != "none")
        return {**result, "kept_directory": kept, "seconds": round(time.monotonic() - before, 3)}


def _identity(primary: Primary) -> str:
    return f"{primary.system_id}-{primary.timeline}"


def _no_restore_half_done(config: ClusterConfig, attempted: str) -> None:
    journal = Journal.load(f"{config.state_directory}/restore.journal.json", attempted=attempted)
    if journal is not None and journal.state == "running":
        raise Refused(
            "restore-unfinished",
            attempted=attempted,
            happened=f"a restore of cluster {config.cluster} was interrupted on this host and is half done",
            remedy="Finish it by running it again, or take it back: dbkeeper undo. Nothing was changed.",
        )


def _follow(
    config: ClusterConfig, request: StandbyRequest, primary: Primary, plan: StandbyPlan
) -> StandbyPlan:
    """Say where the primary is and wait; a standby that cannot follow after all is to be made anew."""
    instance = Instance(config)
    try:
        instance.start(timeout=request.timeout_seconds)
        _ensure_slot(config, request)
        for name, value in (
            ("primary_conninfo", _stored_conninfo(request)),
            ("primary_slot_name", request.slot or ""),
        ):
            query(config, f"ALTER SYSTEM SET {name} = :'value'", values={"value": value})
        instance.reload()
        _prove(config, primary, request.patience_seconds)
    except KeeperError as error:
        if error.code in ("primary-unreachable", "needs-root"):
            raise
        return StandbyPlan("rebuild", f"{plan.reason}, but it does not: {error.happened}")
    return plan


def _rebuild(
    config: ClusterConfig,
    request: StandbyRequest,
    primary: Primary,
    plan: StandbyPlan,
    journal: Journal | None,
) -> str | None:
    path = f"{config.state_directory}/standby.journal.json"
    if journal is None:
        moment = label_time(utc_now())
        data = {
            "staging": f"{config.data_directory}{_MARKER}{moment}",
            "kept": f"{config.data_directory}.replaced-{moment}",
            "reason": plan.reason,
        }
        _sweep(config)
        journal = Journal.begin(path, "standby", _identity(primary), data)
    staging, kept = str(journal.data["staging"]), str(journal.data["kept"])
    instance = Instance(config)
    progress = Progress(f"{config.state_directory}/progress.json", "standby", identity=config.cluster)
    journal.step(STAGE, lambda: _stage(config, request, staging, progress))
    if not journal.is_done(KEEP_OLD):
        # Stopped by a run that was killed: somebody else, or the boot of the host, may have started it since.
        journal.reset(STOP)
    journal.step(STOP, lambda: _stop(instance))
    journal.step(KEEP_OLD, lambda: move(config.data_directory, kept))
    journal.step(PLACE_NEW, lambda: move(staging, config.data_directory))
    journal.step(START, lambda: _start(instance, request))
    journal.step(PROVE, lambda: _prove(config, primary, request.timeout_seconds))
    journal.finish("done")
    progress.finish("done")
    return kept if os.path.isdir(kept) else None


def _stop(instance: Instance) -> None:
    instance.stop()


def _start(instance: Instance, request: StandbyRequest) -> None:
    instance.start(timeout=request.timeout_seconds)


def _stage(config: ClusterConfig, request: StandbyRequest, staging: str, progress: Progress) -> None:
    """A base backup with the settings of a standby in it. Checksums of pages are looked at by the server."""
    if os.path.lexists(staging):
        remove_tree(staging, made_by_us=_MARKER)
    _ensure_slot(config, request)
    progress.phase(STAGE)
    argv = [
        config.program("pg_basebackup"),
        "-D",
        staging,
        "-d",
        _stored_conninfo(request),
        "-w",
        "-R",
        "-X",
        "stream",
    ]
    argv += ["--checkpoint=fast", "--no-sync"]
    argv += ["--slot", request.slot] if request.slot else []
    for old, new in sorted(request.tablespace_map.items()):
        argv += ["--tablespace-mapping", f"{old}={new}"]
    run(
        argv,
        attempted="copy the primary for a standby",
        remedy="Correct what pg_basebackup names, then run the same again. The data here is as it was.",
        env=passfile(request),
        timeout=7 * 86400,
    )
    run(
        [config.program("pg_verifybackup"), "--quiet", staging],
        attempted="verify the copy of the primary",
        remedy="Run the same again; if it fails again, look at the disks of both hosts. The data here is as it was.",
        timeout=7 * 86400,
    )
    # Not only its own file system: the files of a tablespace may lie on others, and nothing else makes them durable.
    links = f"{staging}/pg_tblspc"
    for directory in [staging, *sorted(f"{links}/{name}" for name in os.listdir(links))]:
        sync_filesystem(directory)
    fsync_file(f"{staging}/standby.signal")


def _stored_conninfo(request: StandbyRequest) -> str:
    return request.conninfo(
        application_name=request.primary.get("application_name", request.slot or "dbkeeper_standby")
    )


def _ensure_slot(config: ClusterConfig, request: StandbyRequest) -> None:
    if request.slot is None:
        return
    try:
        ask(config, request, f"CREATE_REPLICATION_SLOT {request.slot} PHYSICAL RESERVE_WAL", codes=True)
    except Failed as error:
        if _DUPLICATE_OBJECT not in error.happened:
            raise


def _prove(config: ClusterConfig, primary: Primary, patience: float) -> None:
    """It streams the primary's timeline, and has replayed as far as the primary was when it was asked.

    Received is not enough: a standby whose limits are below its primary's goes on receiving for ever and replays
    nothing (manual, "Administrator's Overview" of hot standby). ``patience``: seconds in which nothing moves.
    """
    deadline, seen = time.monotonic() + patience, (0, 0)
    while True:
        local = look_here(config)
        there = local.received_lsn if local.delayed else min(local.received_lsn, local.replayed_lsn)
        if local.streaming == primary.timeline and there >= primary.lsn:
            return
        if (local.received_lsn, local.replayed_lsn) > seen:
            deadline, seen = time.monotonic() + patience, (local.received_lsn, local.replayed_lsn)
        if time.monotonic() > deadline:
            raise Failed(
                "standby-does-not-stream",
                attempted="see that the standby streams from its primary",
                happened=_how(local, primary, patience),
                remedy="Its log says why; most often the primary does not let it in, or its WAL is gone there. What is "
                "received and not replayed: replay was paused, or a limit (max_connections and its like) is below "
                "the primary's.",
                details=local.to_dict(),
            )
        time.sleep(_POLL_SECONDS)


def _how(local: Local, primary: Primary, patience: float) -> str:
    state = "it does not run" if not local.running else "it receives nothing"
    if local.streaming is not None:
        state = (
            f"it receives timeline {local.streaming} up to {format_lsn(local.received_lsn)}, "
            f"and has replayed up to {format_lsn(local.replayed_lsn)}"
        )
    return f"after {patience:g} s {state}; the primary is at {format_lsn(primary.lsn)} of timeline {primary.timeline}"


def _sweep(config: ClusterConfig) -> None:
    """What runs that nobody continues have staged."""
    above, name = os.path.split(config.data_directory)
    for entry in os.listdir(above) if os.path.isdir(above) else ():
        if entry.startswith(f"{name}{_MARKER}"):
            remove_tree(f"{above}/{entry}", made_by_us=_MARKER)


def _result(plan: StandbyPlan, primary: Primary, local: Local, *, executed: bool) -> dict[str, Any]:
    changed = plan.action != "none"
    return {
        "changed": changed,
        "executed": executed,
        "plan": plan.to_dict(),
        "primary": {
            "system_id": str(primary.system_id),
            "timeline": primary.timeline,
            "lsn": format_lsn(primary.lsn),
        },
        "standby": local.to_dict(),
        "kept_directory": None,
    }
