# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""From what is asked and what is there to what is done: pure, so that every refusal is a row in a table of tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..cluster.config import ClusterConfig
from ..core.clock import format_utc
from ..core.errors import KeeperError, Refused
from ..core.sizes import format_bytes, format_duration
from ..repository.catalog import EXPIRED, MANIFEST, RUNNING, VERIFIED, Backup, backup_label
from ..repository.chain import FULL
from ..repository.parts import INCOMING
from .kind import Kind, choose_kind, summary_warnings
from .request import BackupRequest
from .state import BackupState, ServerFacts

#: From this major version on the server compresses by itself, and much less goes through the socket.
SERVER_COMPRESSES = 15
_FIRST_GUESS = 0.5
_MARGIN = 1.1
_SPARE_BYTES = 64 << 20


@dataclass(frozen=True)
class BackupPlan:
    """What will be done. ``backup`` is the one that satisfies the request already; then nothing is.

    ``chain`` are the labels that an incremental one is built on, the full one first. ``discard`` are labels whose
    data is what killed or failed runs left. ``compress_after`` (PostgreSQL 14):
    the archives are compressed when they are there, which needs space for both.
    """

    label: str
    reason: str
    backup: Backup | None = None
    kind: str = FULL
    parent: Backup | None = None
    chain: tuple[str, ...] = ()
    argv: tuple[str, ...] = ()
    directory: str = ""
    #: Where pg_basebackup writes: below ``directory``, or pipes on this host for a repository elsewhere.
    incoming: str = ""
    compress_after: bool = False
    compression_level: int = 1
    discard: tuple[str, ...] = ()
    plain_bytes: int = 0
    needed_bytes: int = 0
    free_bytes: int = 0
    estimate: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return self.backup is None

    def to_dict(self) -> dict[str, Any]:
        """JSON values, the same keys whether it is carried out or not."""
        return {
            "label": self.label,
            "reason": self.reason,
            "kind": self.kind,
            "parent": self.parent.label if self.parent else None,
            "chain": list(self.chain),
            "steps": self.steps(),
            "argv": list(self.argv),
            "directory": self.directory,
            "discard": list(self.discard),
            "plain_bytes": self.plain_bytes,
            "needed_bytes": self.needed_bytes,
            "free_bytes": self.free_bytes,
            "estimate": self.estimate,
            "warnings": list(self.warnings),
        }

    def steps(self) -> list[str]:
        """What is done, in words; empty when nothing is."""
        if not self.changes:
            return []
        steps = [f"remove what the unfinished backup {label} left" for label in self.discard]
        steps.append(f"write the catalog entry of {self.label}: running")
        steps.append(" ".join(self.argv))
        if self.compress_after:
            steps.append(f"zstd -{self.compression_level} for each archive")
        steps.append("wait until the WAL of the backup is in the repository")
        steps.append(f"make it durable and write the catalog entry of {self.label}: verified")
        return steps


def make_plan(request: BackupRequest, state: BackupState) -> BackupPlan:
    """Decide.

    Raises :class:`Refused`: ``busy``, ``label-taken``, ``server-not-running``, ``server-not-ready``,
    ``server-other-cluster``, ``version-mismatch``, ``server-in-recovery``, ``archiving-off``,
    ``archiving-failing``, ``no-wal-senders``, ``backup-role-missing``, ``repository-not-writable``,
    ``space-too-little``.
    """
    good = _satisfied(request, state)
    if good is not None:
        age = format_duration(max(0.0, (state.now - (good.stopped_at or good.started_at)).total_seconds()))
        return BackupPlan(
            good.label,
            f"backup {good.label} is verified and {age} old",
            backup=good,
            kind=good.kind,
            parent=_known(state, good.parent),
            chain=tuple(link.label for link in _chain(state, good)),
        )
    _check_running_backups(request, state)
    server = _check_server(state)
    _check_archiving(server, state)
    _check_connection(server, state)
    kind = choose_kind(request, state, server)
    label = request.label or _unused_label(state, kind.kind)
    after = server.major < SERVER_COMPRESSES
    plain, needed, estimate = _space(state, server, after, kind)
    directory = f"{state.repository_path}/base/{label}"
    incoming = f"{state.scratch}/{label}" if state.scratch else f"{directory}/{INCOMING}"
    plan = BackupPlan(
        label=label,
        reason=f"{_reason(request, state)}; {kind.kind}, because {kind.why}",
        kind=kind.kind,
        parent=kind.parent,
        chain=tuple(link.label for link in kind.chain),
        argv=command_line(
            state.config,
            label,
            incoming,
            server.major,
            state.cpus,
            socket_directory=relay_directory(state) if state.scratch else None,
            parent_manifest=parent_manifest(state, kind.parent.label) if kind.parent else None,
        ),
        directory=directory,
        incoming=incoming,
        compress_after=after,
        compression_level=state.config.backup.compression_level,
        discard=tuple(b.label for b in state.catalog.backups if _left_behind(b, label)),
        plain_bytes=plain,
        needed_bytes=needed,
        free_bytes=state.disk.free_bytes,
        estimate=estimate,
        warnings=_warnings(state),
    )
    _check_space(plan, state)
    return plan


def parent_manifest(state: BackupState, label: str) -> str:
    """Where pg_basebackup reads the manifest of the backup that an incremental one is built on."""
    if state.scratch:
        return f"{state.scratch}/{label}.manifest"
    return f"{state.repository_path}/base/{label}/{MANIFEST}"


def relay_directory(state: BackupState) -> str:
    """Where pg_basebackup finds the server when a backup is only passed on; short, as a socket's path must be."""
    return f"{state.config.state_directory}/relay"


def command_line(
    config: ClusterConfig,
    label: str,
    directory: str,
    major: int,
    cpus: int,
    *,
    parent_manifest: str | None = None,
    socket_directory: str | None = None,
) -> tuple[str, ...]:
    """pg_basebackup's command line; it holds no secret. With ``parent_manifest`` only what changed since is sent.

    SHA256, because the restore checks every file with what Python has; no WAL, because the archive has it;
    ``--no-sync``, because the files are made durable while they arrive.
    """
    argv = [config.program("pg_basebackup"), "-D", directory, "-F", "tar", "-X", "none", "-c", "fast"]
    argv += ["-l", f"dbkeeper {label}", "--manifest-checksums=SHA256", "--no-sync", "-P", "-v", "-w"]
    if major >= SERVER_COMPRESSES:
        argv.append(f"--compress=server-zstd:level={config.backup.compression_level}{_workers(cpus)}")
    if parent_manifest:
        argv.append(f"--incremental={parent_manifest}")
    if config.backup.max_rate_kbytes:
        argv.append(f"--max-rate={config.backup.max_rate_kbytes}k")
    return (
        *argv,
        "-h",
        socket_directory or config.socket_directory,
        "-p",
        str(config.port),
        "-U",
        config.backup_user,
    )


def _workers(cpus: int) -> str:
    """One thread to compress beside the one that reads and checksums, where there is a core for it."""
    return ",workers=1" if cpus > 1 else ""


def _satisfied(request: BackupRequest, state: BackupState) -> Backup | None:
    if request.label is not None:
        named = [b for b in state.catalog.backups if b.label == request.label and b.status == VERIFIED]
        if named and named[0] not in state.catalog.usable():
            raise _refused(
                state,
                "label-taken",
                f"the label {request.label} belongs to a backup that no restore takes by itself: damaged pages or "
                "files, or a chain that is not whole",
                "Choose another label, or leave it out: it is then made from the time. dbkeeper info says what is "
                "wrong with that one.",
            )
        return named[0] if named else None
    if request.max_age_seconds is None:
        return None
    mine = [b for b in state.catalog.usable() if b.system_id == state.control.system_id and b.stopped_at]
    if request.kind == FULL:
        mine = [b for b in mine if b.kind == FULL]
    newest = max(mine, key=lambda b: b.stopped_at or b.started_at, default=None)
    if newest is None or newest.stopped_at is None:
        return None
    # A backup from the future (the clock was wrong then or is now, A18) says nothing about its age.
    age = (state.now - newest.stopped_at).total_seconds()
    return newest if 0 <= age <= request.max_age_seconds else None


def _reason(request: BackupRequest, state: BackupState) -> str:
    if request.label is not None:
        return f"no verified backup is called {request.label}"
    if request.max_age_seconds is not None:
        return f"no verified backup of this system is younger than {format_duration(request.max_age_seconds)}"
    return "a backup was asked for"


def _known(state: BackupState, label: str | None) -> Backup | None:
    return next((b for b in state.catalog.backups if b.label == label), None)


def _chain(state: BackupState, backup: Backup) -> tuple[Backup, ...]:
    return state.catalog.chain(backup)[:-1] if state.catalog.fault(backup) is None else ()


def _unused_label(state: BackupState, kind: str) -> str:
    """The time, and a number where that second is taken."""
    taken = {b.label for b in state.catalog.backups} | {entry.label for entry in state.catalog.damaged}
    label = first = backup_label(state.now, kind)
    number = 1
    while label in taken:
        number += 1
        label = f"{first}-{number}"
    return label


def _left_behind(backup: Backup, label: str) -> bool:
    """Unfinished ones lose their data; the entry stays, as failed. One with this very label is begun anew."""
    return backup.status == RUNNING or (backup.label == label and backup.status != VERIFIED)


def _check_running_backups(request: BackupRequest, state: BackupState) -> None:
    for backup in state.catalog.backups:
        if backup.label in state.live_owners:
            owner = backup.owner
            raise _refused(
                state,
                "busy",
                f"backup {backup.label} is being taken by process {owner.get('pid')} on {owner.get('host')}, "
                f"since {owner.get('since')}",
                "Wait for it to end (dbkeeper info shows its progress), then run the same command again.",
                {"label": backup.label, "holder": owner},
            )
    taken = [b for b in state.catalog.backups if b.label == request.label and b.status == EXPIRED]
    damaged = [entry for entry in state.catalog.damaged if entry.label == request.label]
    if taken or damaged:
        raise _refused(
            state,
            "label-taken",
            f"the label {request.label} belongs to a backup that is {'expired' if taken else 'damaged'}",
            "Choose another label, or leave it out: it is then made from the time.",
        )


def _check_server(state: BackupState) -> ServerFacts:
    config, server = state.config, state.server
    if not state.status.running:
        raise _refused(
            state,
            "server-not-running",
            state.status.reason,
            "Start the server: a base backup is taken of a running one.",
        )
    if server is None:
        raise _refused(
            state,
            "server-not-ready",
            f"{state.status.reason}, but takes no connections yet",
            "Wait until it has recovered; its log says how far it is.",
        )
    if server.system_id != state.control.system_id:
        raise _refused(
            state,
            "server-other-cluster",
            f"the server at {config.socket_directory}, port {config.port} is of system {server.system_id} in "
            f"{server.data_directory}; {config.data_directory} is of system {state.control.system_id}",
            "Correct port, socket_directory or data_directory in the cluster's description.",
        )
    if server.major != config.major:
        raise _refused(
            state,
            "version-mismatch",
            f"the server is {server.version}, the description says {config.version}",
            "Correct version and bin_directory in the cluster's description.",
        )
    if server.in_recovery:
        raise _refused(
            state,
            "server-in-recovery",
            "the server is a standby or still recovering",
            "Take the backup on the primary; it archives the WAL that the backup needs.",
        )
    return server


def _check_archiving(server: ServerFacts, state: BackupState) -> None:
    if not server.archiving:
        command = server.archive_command or server.archive_library or "empty"
        raise _refused(
            state,
            "archiving-off",
            f"archive_mode is {server.archive_mode} and archive_command is {command}: without its WAL a backup "
            "cannot be restored",
            "Let the backup role set it, or set archive_mode = on and archive_command = "
            f"'{state.config.command} archive-push --cluster {state.config.cluster} %p', and restart the server.",
        )
    if server.archiver.failing:
        archiver = server.archiver
        raise _refused(
            state,
            "archiving-failing",
            f"the archiver fails at {archiver.last_failed_wal}, last tried {archiver.last_failed_at}; the last that it "
            f"archived was {archiver.last_archived_wal or 'none'}, and {state.ready_segments} segments wait",
            "Read the server's log for the words of archive_command, mend it, then run the same command again.",
            {"archiver": archiver.to_dict(), "ready_segments": state.ready_segments},
        )


def _check_connection(server: ServerFacts, state: BackupState) -> None:
    role = state.config.backup_user
    if server.max_wal_senders < 1:
        raise _refused(
            state,
            "no-wal-senders",
            "max_wal_senders is 0",
            "Set max_wal_senders = 10 and restart the server.",
        )
    if not server.backup_role_fit:
        what = "does not exist" if server.backup_role_fit is None else "lacks LOGIN or REPLICATION"
        raise _refused(
            state,
            "backup-role-missing",
            f"the role {role} {what}",
            f'Run the backup role, or: CREATE ROLE "{role}" LOGIN REPLICATION, with a line for it in pg_hba.conf.',
        )
    if not state.repository_writable:
        raise _refused(
            state,
            "repository-not-writable",
            f"{state.repository_path}/base does not let this user write",
            "Let the cluster's owner write there: the backup role sets owner and mode.",
        )


def _space(state: BackupState, server: ServerFacts, compress_after: bool, kind: Kind) -> tuple[int, int, str]:
    """Plain bytes, bytes needed in the repository, and where the figure comes from.

    An incremental one may be as large as a full one where everything changed; the last of its kind is the better guess.
    """
    plain = server.size_bytes
    all_mine = [b for b in state.catalog.usable() if b.system_id == state.control.system_id and b.plain_bytes]
    mine = [b for b in all_mine if b.kind == FULL]
    same = [b for b in all_mine if b.kind == kind.kind != FULL]
    if same:
        last = same[-1]
        stored = 2 * last.stored_bytes + _SPARE_BYTES
        return plain, stored, f"twice the {format_bytes(last.stored_bytes)} of {last.label}"
    if mine:
        last = mine[-1]
        ratio, source = (
            last.stored_bytes / last.plain_bytes,
            f"backup {last.label} shrank to this part of its size",
        )
    else:
        ratio, source = _FIRST_GUESS, "a guess, as this is the first backup"
    stored = int(plain * ratio * _MARGIN) + _SPARE_BYTES
    return (
        plain,
        stored + plain if compress_after else stored,
        f"{ratio:.2f} of {format_bytes(plain)}: {source}",
    )


def _check_space(plan: BackupPlan, state: BackupState) -> None:
    if plan.needed_bytes <= plan.free_bytes:
        return
    raise _refused(
        state,
        "space-too-little",
        f"the backup needs about {format_bytes(plan.needed_bytes)} in {state.repository_path}, "
        f"{format_bytes(plan.free_bytes)} are free ({plan.estimate})",
        "Enlarge the file system of the repository, or expire old backups.",
        {"needed_bytes": plan.needed_bytes, "free_bytes": plan.free_bytes, "plan": plan.to_dict()},
    )


def _warnings(state: BackupState) -> tuple[str, ...]:
    warnings = []
    if state.same_device:
        warnings.append(
            "the repository is on the device of the data directory: one lost disk loses both (C09)"
        )
    if not state.control.data_checksums:
        warnings.append("data checksums are off: pg_basebackup cannot see damaged pages")
    warnings += summary_warnings(state)
    future = [
        (b.stopped_at, b.label) for b in state.catalog.backups if b.stopped_at and b.stopped_at > state.now
    ]
    if future:
        ended, label = max(future)
        warnings.append(
            f"backup {label} ended at {format_utc(ended)}, in the future; this host's clock says "
            f"{format_utc(state.now)} (A18)"
        )
    return tuple(warnings)


def _refused(
    state: BackupState, code: str, happened: str, remedy: str, details: dict[str, Any] | None = None
) -> KeeperError:
    return Refused(
        code,
        attempted=f"take a base backup of cluster {state.config.cluster}",
        happened=happened,
        remedy=remedy,
        details=details,
    )
