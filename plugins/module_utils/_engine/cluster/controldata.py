# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What pg_control says: identity, state and the limits that a replay needs (PostgreSQL manual, pg_controldata)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..core.errors import Failed
from ..core.run import run
from ..wal.lsn import format_lsn, parse_lsn

#: Settings that a server in recovery must have at least as high as the primary (fault C12).
PRIMARY_SETTINGS = (
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_xacts",
    "max_locks_per_xact",
)
_SETTING_NAMES = {
    "max_prepared_xacts": "max_prepared_transactions",
    "max_locks_per_xact": "max_locks_per_transaction",
}


@dataclass(frozen=True)
class ControlData:
    """A cluster's control file.

    ``state`` is PostgreSQL's own word (``in production``, ``shut down``, ``in archive recovery``, …).
    ``timeline``, ``checkpoint_lsn`` and ``redo_lsn`` are of the last checkpoint: a running server may be
    further. ``min_recovery_end_lsn`` is 0 outside recovery. ``settings`` holds the primary's limits under the
    names of the settings, with ``wal_level``.
    """

    system_id: int
    state: str
    timeline: int
    checkpoint_lsn: int
    redo_lsn: int
    min_recovery_end_lsn: int
    min_recovery_end_timeline: int
    backup_start_lsn: int
    wal_segment_size: int
    block_size: int
    data_checksums: bool
    pg_control_version: int
    catalog_version: int
    settings: dict[str, str]

    @property
    def shut_down(self) -> bool:
        """Whether the last server on it ended in order."""
        return self.state in ("shut down", "shut down in recovery")

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "system_id": str(self.system_id),
            "state": self.state,
            "timeline": self.timeline,
            "checkpoint_lsn": format_lsn(self.checkpoint_lsn),
            "redo_lsn": format_lsn(self.redo_lsn),
            "min_recovery_end_lsn": format_lsn(self.min_recovery_end_lsn),
            "wal_segment_size": self.wal_segment_size,
            "data_checksums": self.data_checksums,
            "catalog_version": self.catalog_version,
            "settings": dict(self.settings),
        }


def read_control_data(bin_directory: str, data_directory: str) -> ControlData:
    """Ask the pg_controldata of the same major version.

    Raises :class:`Failed`: ``control-file-unreadable`` (missing, of another version, or no permission) and
    ``control-file-damaged`` (its checksum is wrong).
    """
    attempted = f"read the control file of {data_directory}"
    remedy = f"See that {data_directory} is a data directory of the version of {bin_directory}."
    try:
        done = run(
            [f"{bin_directory}/pg_controldata", "-D", data_directory], attempted=attempted, remedy=remedy
        )
    except Failed as error:
        if error.code != "program-failed":
            raise
        raise Failed(
            "control-file-unreadable", attempted=attempted, happened=error.happened, remedy=remedy
        ) from error
    if "CRC checksum does not match" in done.out + done.err:
        raise Failed(
            "control-file-damaged",
            attempted=attempted,
            happened="pg_controldata: the checksum does not match the value stored in the file",
            remedy="The control file is damaged: restore the cluster (dbkeeper plan shows what can be reached).",
        )
    return parse_control_data(done.out, attempted=attempted)


def parse_control_data(text: str, *, attempted: str = "read a control file") -> ControlData:
    """From pg_controldata's lines in the C locale. Raises :class:`Failed` (``control-file-unreadable``)."""
    lines = {
        name.strip(): value.strip()
        for name, _dummy, value in (line.partition(":") for line in text.splitlines())
    }
    settings = {
        _SETTING_NAMES.get(name, name): lines[f"{name} setting"]
        for name in ("wal_level", *PRIMARY_SETTINGS)
        if f"{name} setting" in lines
    }
    try:
        return ControlData(
            system_id=int(lines["Database system identifier"]),
            state=lines["Database cluster state"],
            timeline=int(lines["Latest checkpoint's TimeLineID"]),
            checkpoint_lsn=parse_lsn(lines["Latest checkpoint location"]),
            redo_lsn=parse_lsn(lines["Latest checkpoint's REDO location"]),
            min_recovery_end_lsn=parse_lsn(lines["Minimum recovery ending location"]),
            min_recovery_end_timeline=int(lines["Min recovery ending loc's timeline"]),
            backup_start_lsn=parse_lsn(lines["Backup start location"]),
            wal_segment_size=int(lines["Bytes per WAL segment"]),
            block_size=int(lines["Database block size"]),
            data_checksums=lines["Data page checksum version"] != "0",
            pg_control_version=int(lines["pg_control version number"]),
            catalog_version=int(lines["Catalog version number"]),
            settings=settings,
        )
    except (KeyError, ValueError) as error:
        raise Failed(
            "control-file-unreadable",
            attempted=attempted,
            happened=f"pg_controldata's answer lacks {error}",
            remedy="See that bin_directory holds the programs of the cluster's own major version.",
        ) from error
