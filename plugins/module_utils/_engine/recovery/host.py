# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Whether a host allows a restore: its programs, its directories, who may write there, and what lives there now.

Pure. Nothing of this asks the host; what it said is in the state.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from ..core.errors import Refused
from ..repository.catalog import Backup
from .request import RestoreRequest
from .state import HostState

RESTORED_MARKER = ".restored-"


@dataclass(frozen=True)
class TablespaceMove:
    """Where a tablespace lay when the backup was taken, and where the restore puts it."""

    oid: int
    source: str
    target: str


def tablespace_moves(backup: Backup, mapping: Mapping[str, str], identity: str) -> list[TablespaceMove]:
    """Each tablespace goes into a new sibling of the directory it had: the live one is never written to (C02)."""
    moves = []
    known = {tablespace.path for tablespace in backup.tablespaces}
    unknown = sorted(set(mapping) - known)
    if unknown:
        raise Refused(
            "tablespace-unknown",
            attempted="map the tablespaces",
            happened=f"backup {backup.label} has no tablespace at {', '.join(unknown)}",
            remedy=f"Its tablespaces are: {', '.join(sorted(known)) or 'none'}.",
        )
    for tablespace in backup.tablespaces:
        plain = re.sub(re.escape(RESTORED_MARKER) + r"[0-9a-f]{12}$", "", tablespace.path.rstrip("/"))
        target = mapping.get(tablespace.path) or f"{plain}{RESTORED_MARKER}{identity}"
        moves.append(TablespaceMove(tablespace.oid, tablespace.path, target.rstrip("/")))
    targets = [move.target for move in moves]
    if len(set(targets)) != len(targets):
        raise Refused(
            "tablespace-shared",
            attempted="map the tablespaces",
            happened=f"two tablespaces would go to one directory: {', '.join(sorted(targets))}",
            remedy="Give each tablespace a directory of its own.",
            details={"targets": targets},
        )
    return moves


def check_host(
    request: RestoreRequest, state: HostState, backup: Backup, moves: list[TablespaceMove]
) -> None:
    """Raises :class:`Refused` for what the host does not allow: another version or system, owners and rights (C07), a
    place that is taken (C01, C02)."""
    config = state.config
    attempted = f"plan a restore of cluster {config.cluster}"
    if config.major != backup.major:
        raise Refused(
            "version-mismatch",
            attempted=attempted,
            happened=f"backup {backup.label} is of PostgreSQL {backup.major}, the host has {config.version}",
            remedy=f"Install PostgreSQL {backup.major} and correct bin_directory, or choose another backup.",
        )
    live = state.live.seen_from(str(backup.system_id))
    if live.stranger and not request.accept_other_system:
        raise _stranger(config.data_directory, live.stranger, backup, attempted)
    if state.owner == "root":
        raise Refused(
            "wrong-owner",
            attempted=attempted,
            happened=f"{config.data_directory} would belong to root, and PostgreSQL refuses to run as root",
            remedy=f"Make the directory above it for the server's user: install -d -o postgres -g postgres "
            f"{os.path.dirname(config.data_directory)}",
        )
    if state.running_as != state.owner:
        raise Refused(
            "wrong-owner",
            attempted=attempted,
            happened=f"this runs as {state.running_as}, but {config.data_directory} belongs to {state.owner}",
            remedy=f"Run as root, or as {state.owner}.",
        )
    if not state.may_control_service:
        raise Refused(
            "needs-root",
            attempted=attempted,
            happened=f"{config.service.unit} is controlled by systemd, which takes orders from root only",
            remedy="Run the same command as root: sudo dbkeeper restore …",
        )
    if not state.renamable:
        raise Refused(
            "data-directory-not-renamable",
            attempted=attempted,
            happened=f"{config.data_directory} is a mount point or a symbolic link: the swap could not rename it",
            remedy="Keep the data directory one level below the mount point, and name it by its real path.",
        )
    if not state.parent_writable:
        raise Refused(
            "parent-not-writable",
            attempted=attempted,
            happened=f"{state.owner} may not write in {os.path.dirname(config.data_directory)}",
            remedy="Give the directory above the data directory to the cluster's owner: the swap renames inside it.",
        )
    if not state.configured:
        raise Refused(
            "server-configuration-missing",
            attempted=attempted,
            happened=f"{config.config_file} is not there: the restored server would have no configuration",
            remedy="Make it first: the roles do (ansible-playbook dbkeeper.ops.site), or pg_createcluster. The cluster "
            "that comes with it is put aside with accept_other_system (--accept-other-system).",
            details={"config_file": config.config_file},
        )
    _check_overlap(moves, state)
    empty = not live.exists or live.stranger is not None
    for move in moves:
        if os.path.dirname(move.target) in state.unreachable:
            raise Refused(
                "tablespace-target-forbidden",
                attempted=attempted,
                happened=f"tablespace {move.oid} would go into {move.target}, which {state.owner} may not make",
                remedy=f"Make {os.path.dirname(move.target)} for {state.owner}, or map the tablespace elsewhere: "
                f"--tablespace {shlex.quote(f'{move.source}=/new/directory')}",
            )
        inside = _below(_real(move.target, state), _real(config.data_directory, state))
        # On a new host the place that it had is as good as any other.
        if inside or (move.target == move.source and not empty):
            raise Refused(
                "tablespace-target-forbidden",
                attempted=attempted,
                happened=f"tablespace {move.oid} would be restored into {move.target}, which is live",
                remedy="Map it to a new directory outside the data directory.",
            )
        if move.target in state.occupied:
            raise Refused(
                "tablespace-target-forbidden",
                attempted=attempted,
                happened=f"tablespace {move.oid} would be restored into {move.target}, in which something lies",
                remedy="Map it to a directory that is new or empty: what lies there may be another cluster's data, or "
                "this one's since an earlier restore.",
            )


def _real(path: str, state: HostState) -> str:
    return state.real_paths.get(path) or os.path.normpath(path)


def _below(path: str, directory: str) -> bool:
    return f"{path}/".startswith(f"{directory}/")


def _check_overlap(moves: list[TablespaceMove], state: HostState) -> None:
    """None inside another, also by way of a link (C02)."""
    paths = sorted(_real(move.target, state) for move in moves)
    for one, other in zip(paths, paths[1:]):
        if _below(other, one):
            raise Refused(
                "tablespace-overlap",
                attempted="map the tablespaces",
                happened=f"{other} lies in {one}" if other != one else f"two tablespaces would go to {one}",
                remedy="Give every tablespace a directory of its own, outside the data directory.",
                details={"targets": paths},
            )


def _stranger(directory: str, found: str, backup: Backup, attempted: str) -> Refused:
    """The place is taken: by another cluster, or by what is no cluster at all (fault C01)."""
    aside = "repeat with accept_other_system (--accept-other-system): it is put aside, not removed."
    if not found.isdigit():
        return Refused(
            "directory-not-empty",
            attempted=attempted,
            happened=f"{directory} is not empty, and what lies in it is no cluster",
            remedy=f"Correct data_directory, move away what lies there, or {aside}",
            details={"directory": directory},
        )
    return Refused(
        "system-mismatch",
        attempted=attempted,
        happened=(
            f"{directory} holds system {found}, backup {backup.label} is of {backup.system_id}: another database "
            "lives here"
        ),
        remedy=f"Correct the repository or the cluster's name in the configuration, or {aside}",
        details={"system_id": found},
    )
