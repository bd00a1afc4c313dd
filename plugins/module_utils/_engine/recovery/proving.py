# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""From a request to a plan: ask the state, prove the target, and plan. Reads; touches nothing but the WAL index."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.instance import Instance
from ..cluster.psql import query
from ..cluster.target import look_at_target
from ..core.errors import Failed, Refused
from ..repository.archive import push
from ..repository.catalog import Backup, read_catalog
from ..repository.engine import NativeEngine
from ..repository.given_up import read_given_up
from ..repository.layout import Repository
from ..retention.given_up import believed
from ..wal.facts import BackupFacts, Proof, Target
from ..wal.index import WalIndex
from ..wal.lsn import format_lsn
from ..wal.proof import prove
from ..wal.segment import Segment, history_name, is_segment_name, last_segment_of, segment_name, segment_of
from .amcheck import require_amcheck
from .choice import candidate_backups
from .fitness import needs
from .host import tablespace_moves
from .live_end import known_end
from .plan import RestorePlan, make_plan
from .request import RestoreRequest
from .state import HostState, ask_state, live_cluster, waiting_segments
from .waiting import wait_for

#: Where waiting for the archive helps: WAL with the target may not have arrived yet.
_MAY_NOT_BE_ARCHIVED_YET = (
    "target-after-last-commit",
    "xid-not-in-archive",
    "restore-point-unknown",
    "lsn-out-of-range",
)
_ARCHIVE_PATIENCE_SECONDS = 120.0


def plan_restore(config: ClusterConfig, repository: Repository, request: RestoreRequest) -> RestorePlan:
    """The whole plan, or :class:`Refused` with the nearest valid choice."""
    locations = _locations(config, repository, request)
    state = ask_state(config, repository, locations, request.tablespace_map.values())
    if request.verify_amcheck:
        require_amcheck(config)
    candidates = candidate_backups(request, state.catalog, config.cluster)
    system_id = _system_id(state, candidates, request)
    candidates = _of_system(system_id, candidates, config)
    if request.accept_other_system:
        state = replace(state, live=state.live.seen_from(system_id))
    engine = NativeEngine(repository)
    control, notes = state.live.control, read_given_up(repository)
    position = (control.system_id, control.timeline) if control else None
    known = [
        one.facts(even_unsound=True)
        for one in state.catalog.backups
        if one.verified and str(one.system_id) == system_id
    ]
    proof = prove(
        [backup.facts() for backup in candidates],
        _on_live_timeline(request.target, state),
        index=WalIndex(repository.index(system_id)),
        source=engine.wal_source(system_id),
        bin_directory=config.bin_directory,
        now=state.now,
        live_timeline=control.timeline if control else None,
        use_partial=request.use_partial,
        given_up=lambda archive: believed(notes, int(system_id), archive, known, position),
    )
    _reaches_live(request, proof, state)
    _reaches_backups(request, proof, known)
    chosen = next(backup for backup in candidates if backup.label == proof.backup)
    state = replace(state, target=look_at_target(config, *needs(chosen)))
    return make_plan(request, proof, chosen, state, _look(engine, state, chosen))


def _at_the_end(target: Mapping[str, Any], inclusive: bool) -> bool:
    """Whether a proof goes to the archive's end, wherever that is: nothing behind it tells that it is the end."""
    return target["kind"] == "latest" or (target["kind"] == "time" and inclusive)


def _reaches_live(request: RestoreRequest, proof: Proof, state: HostState) -> None:
    """The end of the archive must not lie before what the live cluster is known to have written.

    Raises :class:`Refused` (``live-wal-not-archived``).
    """
    control = state.live.control
    if control is None or proof.branch != control.timeline:
        return
    if not _at_the_end(proof.target.to_dict(), proof.inclusive):
        return
    known = known_end(control)
    if state.live.ready_segments or request.accept_unarchived or proof.end_lsn >= known:
        return
    raise Refused(
        "live-wal-not-archived",
        attempted=f"prove that a restore reaches {proof.target.describe()}",
        happened=(
            f"the archive ends at {format_lsn(proof.end_lsn)}, and the live cluster has written WAL up to "
            f"{format_lsn(known)}: the archive has lost its end or was never given it, and commits in it would be lost"
        ),
        remedy=(
            "Bring the last segments back from pg_wal of the live cluster or from a copy of the archive (a cluster "
            "that is started with archive_mode on archives its last segment by itself); or ask for an LSN in what is "
            "archived, or repeat with accept_unarchived (--accept-unarchived) and lose the rest."
        ),
        details={"archive_end_lsn": format_lsn(proof.end_lsn), "live_lsn": format_lsn(known)},
    )


def _reaches_backups(request: RestoreRequest, proof: Proof, known: Sequence[BackupFacts]) -> None:
    """Nor before the end of a backup that is known: its WAL was archived once.

    Where the newest backup is used that is seen anyway; not where an older one was named, or a newer one is unfit.
    Raises :class:`Refused` (``segment-missing``; ``history-missing`` for a timeline that only the catalog knows).
    """
    unseen = [one for one in known if one.timeline not in (1, *proof.timelines)]
    if unseen and proof.target.timeline is None and _at_the_end(proof.target.to_dict(), proof.inclusive):
        one = unseen[-1]
        name = history_name(one.timeline)
        raise Refused(
            "history-missing",
            attempted=f"prove that a restore reaches {proof.target.describe()}",
            happened=(
                f"backup {one.label} is of timeline {one.timeline}, of which the archive holds nothing, not even "
                f"{name}: nobody can say whether that goes on from here"
            ),
            remedy=(
                f"Bring {name} and the timeline's WAL back from a copy of the archive, or from pg_wal of the server "
                f"that made it; or say which timeline is meant (--timeline {proof.branch})."
            ),
            details={"name": name, "timeline": one.timeline, "backup": one.label},
        )
    beyond = [one for one in known if one.timeline == proof.branch and one.stop_lsn > proof.end_lsn]
    if not beyond or request.accept_unarchived or not _at_the_end(proof.target.to_dict(), proof.inclusive):
        return
    last = max(beyond, key=lambda one: one.stop_lsn)
    size = last.wal_segment_size
    first, final = (
        segment_name(Segment(proof.branch, number), size)
        for number in (segment_of(proof.end_lsn, size), last_segment_of(last.stop_lsn, size))
    )
    raise Refused(
        "segment-missing",
        attempted=f"prove that a restore reaches {proof.target.describe()}",
        happened=(
            f"the archive ends at {format_lsn(proof.end_lsn)}, and backup {last.label} ended at "
            f"{format_lsn(last.stop_lsn)}: segments {first} to {final} were archived once, and commits in them would "
            "be lost"
        ),
        remedy=(
            "Bring them back from a copy of the archive or from the server's pg_wal; or ask for an LSN in what is "
            "archived, or repeat with accept_unarchived (--accept-unarchived) and lose the rest."
        ),
        details={"first": first, "last": final, "archive_end_lsn": format_lsn(proof.end_lsn)},
    )


def _look(engine: NativeEngine, state: HostState, chosen: Backup) -> dict[int, int]:
    """Files and directories that staging makes, by tablespace; a backup that is not whole is refused (B17, B18).

    While an incremental backup is put together, all of its links lie there beside what becomes of them.
    """
    links = [backup.label for backup in state.catalog.chain(chosen)]
    try:
        found = [engine.look_at_backup(label).inodes for label in links]
    except Failed as error:
        raise Refused(
            error.code,
            attempted=error.attempted,
            happened=error.happened,
            remedy=error.remedy,
            details={**error.details, "backup": chosen.label},
        ) from error
    needed: dict[int, int] = {}
    for inodes in (*found, *(found[-1:] if len(found) > 1 else ())):
        for oid, count in inodes.items():
            needed[oid] = needed.get(oid, 0) + count
    return needed


def _locations(config: ClusterConfig, repository: Repository, request: RestoreRequest) -> tuple[str, ...]:
    """The directories that something would be written in, whichever backup is chosen."""
    found = [os.path.dirname(config.data_directory)]
    for backup in read_catalog(repository).usable(accept_page_faults=True):
        known = {tablespace.path for tablespace in backup.tablespaces}
        wanted = {path: target for path, target in request.tablespace_map.items() if path in known}
        # The plan's id is not known yet; it is part of the last name only.
        found += [os.path.dirname(move.target) for move in tablespace_moves(backup, wanted, "0" * 12)]
    return tuple(dict.fromkeys(found))


def _of_system(system_id: str, candidates: list[Backup], config: ClusterConfig) -> list[Backup]:
    ours = [backup for backup in candidates if str(backup.system_id) == system_id]
    if not ours:
        others = sorted({str(backup.system_id) for backup in candidates})
        raise Refused(
            "system-mismatch",
            attempted=f"choose a base backup of cluster {config.cluster}",
            happened=(
                f"{config.data_directory} holds system {system_id}, the repository has backups of "
                f"{', '.join(others)}: another database"
            ),
            remedy="Correct the repository or the cluster's name in the configuration, or repeat with "
            "accept_other_system (--accept-other-system): the other database is put aside, not removed.",
            details={"system_id": system_id, "repository_system_ids": others},
        )
    return ours


def _system_id(state: HostState, candidates: list[Backup], request: RestoreRequest) -> str:
    """The live cluster says which system it is; without one, all backups must agree (fault B07)."""
    systems = sorted({str(backup.system_id) for backup in candidates})
    live = str(state.live.control.system_id) if state.live.control is not None else None
    if live is not None and (live in systems or not request.accept_other_system):
        return live
    if len(systems) > 1:
        raise Refused(
            "system-ambiguous",
            attempted="tell which database to restore",
            happened=f"the repository holds backups of {len(systems)} systems and there is no live cluster to compare",
            remedy="Name a backup; 'dbkeeper info' lists them with their system identifiers.",
            details={"system_ids": systems},
        )
    return systems[0]


def _on_live_timeline(target: Target, state: HostState) -> Target:
    """``latest`` means the newest of the cluster that lives here, not of a branch that somebody else made (A14)."""
    if target.kind == "latest" and target.timeline is None and state.live.control is not None:
        return replace(target, timeline=state.live.control.timeline)
    return target


def plan_after_archiving(
    config: ClusterConfig, repository: Repository, request: RestoreRequest
) -> RestorePlan:
    """Plan; when the target may lie in WAL that has not been archived yet, have it archived and plan again.

    So too when the plan goes to the archive's end because nothing later is there (an idle gap that is allowed): what
    the live cluster has committed before the asked time may not have arrived. Switching to a new segment is the one
    thing done to the live cluster, and only then.
    """
    try:
        plan = plan_restore(config, repository, request)
    except Refused as error:
        if error.code not in _MAY_NOT_BE_ARCHIVED_YET or not _serves_this_system(config, repository):
            raise
        archive_now(config)
        return plan_restore(config, repository, request)
    open_ended = _at_the_end(plan.proof["target"], plan.inclusive) and not request.accept_unarchived
    if not open_ended or not plan.live["exists"] or plan.live["stranger"]:
        return plan
    if plan.live["running"]:
        archive_now(config)
    else:
        stop_and_archive(config, repository, request.accept_unarchived)
    return plan_restore(config, repository, request)


def _serves_this_system(config: ClusterConfig, repository: Repository) -> bool:
    """Whether the server that runs here is the one whose backups these are: no stranger is told to archive."""
    live = live_cluster(config)
    if live.control is None or not live.status.running:
        return False
    return live.control.system_id in {backup.system_id for backup in read_catalog(repository).usable()}


def archive_now(config: ClusterConfig) -> None:
    """Close the live cluster's current segment and wait until nothing waits to be archived."""
    query(config, "SELECT pg_logical_emit_message(false, 'dbkeeper', 'close the segment')")
    name = str(query(config, "SELECT pg_walfile_name(pg_switch_wal())")[0][0])

    def archived() -> bool:
        row = query(
            config,
            "SELECT coalesce(last_archived_wal, '') >= :'name' FROM pg_stat_archiver",
            values={"name": name},
        )
        return row[0][0] == "t" and name not in waiting_segments(config.data_directory)

    wait_for(
        archived,
        _ARCHIVE_PATIENCE_SECONDS,
        code="archive-behind",
        attempted=f"have segment {name} archived before the target is proven",
        remedy="Look at the server's log for the words of archive_command; 'dbkeeper check' shows the archiver.",
    )


def stop_and_archive(config: ClusterConfig, repository: Repository, accept_unarchived: bool) -> None:
    """Before ``latest``: a clean stop archives the last segment; what is left over is pushed by us.

    Raises :class:`Refused` (``live-wal-not-archived``) when a crashed cluster holds WAL that never left it (or one in
    recovery, which archives nothing), or when nobody can say what has not.
    """
    instance = Instance(config)
    if instance.status().running:
        instance.stop()
    live = live_cluster(config)
    left = live.ready_segments if accept_unarchived else waiting_segments(config.data_directory)
    for name in left:
        push(repository, f"{config.data_directory}/pg_wal/{name}")
        status = f"{config.data_directory}/pg_wal/archive_status/{name}"
        os.rename(f"{status}.ready", f"{status}.done")
    doubtful = (
        _holds_wal(config.data_directory) if live.control is None else live.control.state != "shut down"
    )
    if doubtful and not accept_unarchived:
        said = f"pg_control says {live.control.state!r}" if live.control else "its pg_control cannot be read"
        raise Refused(
            "live-wal-not-archived",
            attempted="restore to the latest commit",
            happened=(
                f"the cluster in {config.data_directory} crashed or is a standby, or nobody can say that it is not "
                f"({said}): its last segment was never archived, so commits in it would be lost"
            ),
            remedy=(
                "Start the cluster once so that crash recovery finishes and the segment is archived (promote it, if it "
                "is a standby); if it cannot start, repeat with accept_unarchived (--accept-unarchived) and lose what "
                "only it holds."
            ),
        )


def _holds_wal(data_directory: str) -> bool:
    """Whether there are segments of a cluster whose control file cannot be read; so it is where nobody can say."""
    try:
        return any(is_segment_name(name) for name in os.listdir(f"{data_directory}/pg_wal"))
    except FileNotFoundError:
        return False
    except OSError:
        return True
