# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a primary and its standby are: asked, nothing changed. Of the primary only what replication may ask."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.controldata import read_control_data
from ..cluster.instance import Instance
from ..cluster.psql import query
from ..core.errors import Failed, Refused
from ..core.run import run
from ..wal.history import History, parse_history
from ..wal.lsn import format_lsn, parse_lsn
from .request import StandbyRequest


@dataclass(frozen=True)
class Primary:
    """A server as its replication protocol tells it (manual, "Streaming Replication Protocol")."""

    system_id: int
    timeline: int
    lsn: int
    history: History | None


@dataclass(frozen=True)
class Local:
    """What is on this host. ``end_lsn``: as far as its WAL is known to go, on ``timeline``.

    ``streaming``: the timeline that it receives right now from ``sender`` (host, port), None when it receives none.
    ``delayed``: it replays later than it receives by somebody's wish (``recovery_min_apply_delay``).
    """

    exists: bool
    running: bool = False
    standby: bool = False
    system_id: int | None = None
    timeline: int | None = None
    end_lsn: int = 0
    streaming: int | None = None
    received_lsn: int = 0
    replayed_lsn: int = 0
    delayed: bool = False
    sender: tuple[str, str] | None = None
    slot: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON."""
        return {
            "exists": self.exists,
            "running": self.running,
            "standby": self.standby,
            "system_id": None if self.system_id is None else str(self.system_id),
            "timeline": self.timeline,
            "end_lsn": format_lsn(self.end_lsn) if self.exists else None,
            "streaming": self.streaming,
        }


def ask(config: ClusterConfig, request: StandbyRequest, command: str, *, codes: bool = False) -> str:
    """One command of the replication protocol; the answer's columns are separated by a bar.

    ``codes``: an error is told with its SQLSTATE, as its words are in the server's language. Raises :class:`Failed`
    ``primary-unreachable``.
    """
    argv = [config.program("psql"), "-X", "-q", "-w", "-A", "-t", "-d", request.conninfo(replication="true")]
    argv += ["-v", "VERBOSITY=verbose"] if codes else []
    done = run(
        [*argv, "-c", command],
        attempted="ask the primary",
        env={"PGAPPNAME": "dbkeeper", **passfile(request)},
        timeout=60,
        accept=range(0, 256),
    )
    if done.status != 0:
        place = f"{request.primary['host']}, port {request.primary.get('port', '5432')}"
        raise Failed(
            "primary-unreachable",
            attempted=f"ask the primary at {place} ({command.split()[0]})",
            happened=" ".join(done.err.split()) or "psql gave no reason",
            remedy="See that it runs, that its pg_hba.conf lets this host in for replication, and that the role has "
            "REPLICATION. Nothing was changed.",
        )
    return done.out


def passfile(request: StandbyRequest) -> dict[str, str]:
    """The owner's own file of passwords where none is named; libpq finds it by HOME, which may be somebody else's."""
    if "passfile" in request.primary:
        return {}
    path = os.path.expanduser(f"~{_owner()}/.pgpass")
    return {"PGPASSFILE": path} if os.path.exists(path) else {}


def _owner() -> str:
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name


def look_at_primary(config: ClusterConfig, request: StandbyRequest) -> Primary:
    """Ask the primary. Raises :class:`Failed` (``primary-unreachable``), :class:`Refused` (``history-damaged``)."""
    system_id, timeline, lsn = ask(config, request, "IDENTIFY_SYSTEM").strip().split("|")[:3]
    history = None
    if int(timeline) > 1:
        text = ask(config, request, f"TIMELINE_HISTORY {timeline}").partition("|")[2]
        history = parse_history(int(timeline), text)
    return Primary(int(system_id), int(timeline), parse_lsn(lsn), history)


def look_here(config: ClusterConfig) -> Local:
    """See what is on this host. Raises what :meth:`Instance.status` and :func:`read_control_data` raise."""
    directory = config.data_directory
    if not os.path.isfile(f"{directory}/PG_VERSION"):
        if os.path.isdir(directory) and os.listdir(directory):
            raise Refused(
                "directory-not-empty",
                attempted=f"make a standby of cluster {config.cluster}",
                happened=f"{directory} has something in it that is no data directory",
                remedy="Move it away, or correct data_directory. Nothing was changed.",
            )
        return Local(exists=False)
    control = read_control_data(config.bin_directory, directory)
    standby = os.path.exists(f"{directory}/standby.signal")
    status = Instance(config).status()
    end = max(control.checkpoint_lsn, control.min_recovery_end_lsn)
    timeline = max(control.timeline, control.min_recovery_end_timeline)
    if not (status.running and status.ready and standby):
        return Local(True, status.running, standby, control.system_id, timeline, end)
    row = query(config, _STREAM)[0]
    receiving = row[0] == "streaming"
    received = parse_lsn(str(row[2])) if row[2] else 0
    return Local(
        True,
        True,
        standby,
        control.system_id,
        max(timeline, int(row[5] or 0)),
        max(end, received, parse_lsn(str(row[6])) if row[6] else 0),
        int(str(row[1])) if receiving else None,
        received,
        parse_lsn(str(row[6])) if row[6] else 0,
        row[8] == "t",
        (str(row[3]), str(row[4])) if receiving else None,
        row[7] or None,
    )


_STREAM = """
SELECT r.status, r.received_tli, r.flushed_lsn, r.sender_host, r.sender_port,
       (SELECT timeline_id FROM pg_control_checkpoint()), pg_last_wal_replay_lsn(), r.slot_name,
       (SELECT setting <> '0' FROM pg_settings WHERE name = 'recovery_min_apply_delay')
  FROM (SELECT 1) one LEFT JOIN pg_stat_wal_receiver r ON true
"""
