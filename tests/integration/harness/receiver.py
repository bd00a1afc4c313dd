# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""``dbkeeper receive`` beside a cluster, as a service manager would run it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from .cluster import Cluster
from .waiting import wait_for

SLOT = "dbkeeper_receive"


class Receiver:
    """One receiver of a cluster; without the cluster's configuration, as on the host of the repository."""

    def __init__(self, cluster: Cluster, *, root: Path | None = None, connection: str | None = None) -> None:
        self.cluster = cluster
        self.root = root or cluster.repository
        self.connection = connection or f"host={cluster.socket_directory} port={cluster.port} user=dbkeeper"
        self.log = cluster.root / "receive.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def argv(self) -> list[str]:
        """Its command line."""
        places = ["--root", str(self.root), "--cluster", self.cluster.name]
        programs = ["--bin-directory", str(self.cluster.installation.bin_directory)]
        return [str(self.cluster.command), "receive", *places, *programs, "--connection", self.connection]

    def start(self) -> Receiver:
        """Start it; see :meth:`wait_streaming`."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True
            )
        return self

    def wait_streaming(self, cluster: Cluster | None = None) -> Receiver:
        """Until the server says that somebody streams through the slot."""
        asked = cluster or self.cluster
        question = "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s AND active"
        try:
            wait_for(lambda: asked.sql(question, SLOT), "a receiver that streams")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.words()}") from None
        return self

    def wait_received(self, cluster: Cluster | None = None) -> None:
        """Until the server knows that all it has written is on the receiver's disk."""
        asked = cluster or self.cluster
        lsn = asked.value("SELECT pg_current_wal_insert_lsn()::text")
        question = "SELECT 1 FROM pg_stat_replication WHERE application_name = %s AND flush_lsn >= %s::pg_lsn"
        asked.sql("SELECT pg_logical_emit_message(true, 'test', 'flush')")
        wait_for(lambda: asked.sql(question, SLOT, lsn), f"{lsn} received")

    def stop(self) -> int:
        """As systemd does; its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=240)

    def kill(self) -> None:
        """kill -9 of the command alone: pg_receivewal lives on."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=240)

    def words(self) -> str:
        """What it said."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def directory(self, system_id: str) -> Path:
        """What it streams into."""
        return self.root / self.cluster.name / "receive" / system_id

    def status(self, system_id: str) -> dict[str, Any]:
        """What it says of itself."""
        return dict(json.loads((self.directory(system_id) / "status.json").read_text()))
