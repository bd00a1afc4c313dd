# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""How much a restore needs beside the live data, on each file system (fault C08). Pure."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ..core.errors import Refused
from ..core.sizes import format_bytes
from ..repository.catalog import Backup
from ..wal.facts import Proof
from .host import RESTORED_MARKER, TablespaceMove
from .state import HostState

#: Restored WAL stays in pg_wal until a restartpoint; the staged server's max_wal_size bounds it.
STAGED_MAX_WAL_BYTES = 1 << 30
PREFETCH_SEGMENTS = 8
#: Besides those of the backup: configuration, logs, locks, the server's own.
_OWN_FILES = 64
_MARGIN = 0.10
#: From this major version on pg_combinebackup links files that it takes as they are.
_COMBINE_LINKS = 18


def combine_method(backup: Backup, moves: Sequence[TablespaceMove]) -> str:
    """``link`` where the program can, and every link of the chain lies on the file system of what is made of it."""
    mapped = any(RESTORED_MARKER not in os.path.basename(move.target) for move in moves)
    return "copy" if mapped or backup.major < _COMBINE_LINKS else "link"


def disk_needs(
    chain: Sequence[Backup],
    proof: Proof,
    moves: Sequence[TablespaceMove],
    state: HostState,
    inodes: Mapping[int, int],
) -> list[dict[str, Any]]:
    """Bytes and inodes needed on each file system at the worst moment; ``inodes`` is what staging makes, by tablespace.

    Raises :class:`Refused` ``disk-too-small``, ``inodes-too-few``.

    A chain needs all its links and what is made of them. Copied links go before WAL is fetched; of linked ones what
    was taken over stays.
    """
    backup = chain[-1]
    wal = min(proof.wal_bytes, STAGED_MAX_WAL_BYTES) + (PREFETCH_SEGMENTS + 4) * backup.wal_segment_size
    moved = {move.oid: move.target for move in moves}
    beside = {oid for oid, target in moved.items() if RESTORED_MARKER in os.path.basename(target)}
    result = {tablespace.oid: tablespace.full_bytes for tablespace in backup.tablespaces}
    links = dict.fromkeys([0, *moved], 0)
    for link in chain if len(chain) > 1 else ():
        links[0] += link.plain_bytes
        for tablespace in link.tablespaces:
            if tablespace.oid in beside:
                links[0] -= tablespace.plain_bytes
                links[tablespace.oid] += tablespace.plain_bytes
    made = {0: backup.full_bytes - sum(result.values()), **result}
    later = {oid: 0 if oid else wal for oid in links}
    if len(chain) > 1 and combine_method(backup, moves) == "link":
        needs = {oid: min(made[oid], backup.rebuilt_bytes) + links[oid] + later[oid] for oid in links}
    else:
        needs = {oid: made[oid] + max(links[oid], later[oid]) for oid in links}
    segments = min(len(proof.segments), STAGED_MAX_WAL_BYTES // backup.wal_segment_size)
    files = {oid: inodes.get(oid, 0) for oid in needs}
    files[0] += segments + PREFETCH_SEGMENTS + _OWN_FILES
    return _grouped({oid: (need, files[oid]) for oid, need in needs.items()}, moved, state)


def _grouped(
    needs: dict[int, tuple[int, int]], moved: dict[int, str], state: HostState
) -> list[dict[str, Any]]:
    grouped: dict[int, dict[str, Any]] = {}
    for oid, (need, count) in needs.items():
        path = moved[oid] if oid else state.config.data_directory
        disk = state.disks[os.path.dirname(path)]
        entry = grouped.setdefault(
            disk.device,
            {
                "path": path,
                "needed_bytes": 0,
                "free_bytes": disk.free_bytes,
                "needed_inodes": 0,
                "free_inodes": disk.free_inodes,
            },
        )
        entry["needed_bytes"] += round(need * (1 + _MARGIN))
        entry["needed_inodes"] += round(count * (1 + _MARGIN))
    for entry in grouped.values():
        if entry["needed_bytes"] > entry["free_bytes"]:
            raise Refused(
                "disk-too-small",
                attempted=f"plan a restore of cluster {state.config.cluster}",
                happened=(
                    f"the file system of {entry['path']} has {format_bytes(entry['free_bytes'])} free; "
                    f"{format_bytes(entry['needed_bytes'])} are needed beside the live data"
                ),
                remedy="Free space there (directories of earlier restores end in .before-…), or enlarge it.",
                details=entry,
            )
        free = entry["free_inodes"]
        if free is not None and entry["needed_inodes"] > free:
            raise Refused(
                "inodes-too-few",
                attempted=f"plan a restore of cluster {state.config.cluster}",
                happened=(
                    f"the file system of {entry['path']} has {free} free inodes; {entry['needed_inodes']} are needed "
                    "for the files of the copy beside the live data"
                ),
                remedy="Remove small files that nobody needs there, or use a file system made with more inodes.",
                details=entry,
            )
    return list(grouped.values())
