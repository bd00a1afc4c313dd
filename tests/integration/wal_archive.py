# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""An archive of plain files beside a real server, for the tests of the WAL packages alone."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.content import PLAIN
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.facts import BackupFacts, Proof, Target
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.index import WalIndex
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.proof import prove
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.source import StoredWal

from .harness.cluster import Cluster
from .harness.installation import Installation
from .harness.sandbox import Sandbox
from .harness.template import Kind
from .harness.waiting import wait_for


@dataclass
class PlainArchive:
    """A directory as ``archive_command = 'cp %p …'`` fills it; a WalSource."""

    path: Path
    fetched: list[str] = field(default_factory=list)

    def list_files(self) -> Iterator[StoredWal]:
        for entry in sorted(self.path.iterdir()):
            try:
                status = entry.lstat()
            except FileNotFoundError:
                # Renamed since it was listed.
                continue
            signature = f"{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}-{status.st_ino}"
            name = entry.name.removesuffix(".copy")
            yield StoredWal(name, status.st_size, signature, str(entry))

    def fetch(self, name: str, target_path: str, kind: str = PLAIN) -> str:
        self.fetched.append(name)
        try:
            data = (self.path / name).read_bytes()
        except OSError as error:
            raise Refused(
                "segment-unreadable", attempted="read", happened=str(error), remedy="mend it"
            ) from error
        Path(target_path).write_bytes(data)
        return hashlib.sha256(data).hexdigest()

    def read_history(self, timeline: int) -> str | None:
        path = self.path / f"{timeline:08X}.history"
        return path.read_text() if path.exists() else None

    def segments(self, timeline: int = 1) -> list[Path]:
        """The whole segments of a timeline, oldest first."""
        head = f"{timeline:08X}"
        return sorted(p for p in self.path.iterdir() if len(p.name) == 24 and p.name.startswith(head))

    def copy(self, target: Path) -> PlainArchive:
        """Another archive with the same files, to be damaged."""
        shutil.copytree(self.path, target)
        return PlainArchive(target)


class Server:
    """A cluster with a plain archive, and proofs about it."""

    def __init__(
        self,
        sandbox: Sandbox,
        name: str,
        installation: Installation,
        *,
        segment_mb: int = 1,
        settings: dict[str, str] | None = None,
        archive: PlainArchive | None = None,
    ) -> None:
        self.sandbox = sandbox
        self.archive = archive or PlainArchive(sandbox.root / f"{name}-archive")
        self.archive.path.mkdir(exist_ok=True)
        self.cluster = Cluster(
            sandbox,
            name,
            installation=installation,
            kind=Kind(segment_mb=segment_mb),
            archiving=False,
            settings={
                "archive_mode": "on",
                "archive_command": f"cp %p {self.archive.path}/.part-%f && mv {self.archive.path}/.part-%f "
                f"{self.archive.path}/%f",
                **(settings or {}),
            },
        )
        self.backups: list[BackupFacts] = []
        self.data: dict[str, Path] = {}

    @property
    def bin_directory(self) -> str:
        return str(self.cluster.installation.bin_directory)

    def index(self, name: str = "index") -> WalIndex:
        """An index of its own name; its directory carries the system identifier."""
        return WalIndex(str(self.sandbox.root / name / self.cluster.system_id))

    def backup(self) -> BackupFacts:
        """A base backup with the facts that its manifest tells."""
        label = f"{self.cluster.name}-{len(self.backups)}"
        target = self.sandbox.root / f"backup-{label}"
        self.cluster.program(
            "pg_basebackup",
            *("-h", str(self.cluster.socket_directory), "-p", str(self.cluster.port), "-U", "postgres"),
            *("-D", str(target), "-X", "none", "-c", "fast", "--no-sync"),
        )
        wal = json.loads((target / "backup_manifest").read_text())["WAL-Ranges"][-1]
        facts = BackupFacts(
            label,
            wal["Timeline"],
            number(wal["Start-LSN"]),
            number(wal["End-LSN"]),
            datetime.now(timezone.utc),
            int(self.cluster.system_id),
            self.cluster.kind.segment_mb << 20,
            self.cluster.installation.major,
        )
        self.backups.append(facts)
        self.data[label] = target
        return facts

    def close_segment(self) -> str:
        """End the current segment and wait until it is archived."""
        name = self.cluster.switch_wal()
        wait_for((self.archive.path / name).exists, f"{name} archived")
        return name

    def prove(self, target: Target, *, archive: PlainArchive | None = None, index: str = "index") -> Proof:
        """A proof with all backups."""
        return prove(
            self.backups,
            target,
            index=self.index(index),
            source=archive or self.archive,
            bin_directory=self.bin_directory,
            now=datetime.now(timezone.utc),
        )

    def recover(
        self, proof: Proof, settings: dict[str, str], *, only_planned: bool = True, archiving: bool = False
    ) -> Recovery:
        """Let the server itself recover a copy of the proof's backup, from the planned files alone.

        With ``archiving`` it goes on to write into the archive once it is promoted.
        """
        names = [segment.name for segment in proof.segments] + list(proof.histories)
        if not only_planned:
            names = [path.name for path in self.archive.path.iterdir()]
        return self.recover_files(proof.backup, names, settings, archiving=archiving)

    def recover_files(
        self, backup: str, names: list[str], settings: dict[str, str], *, archiving: bool = False
    ) -> Recovery:
        """The same with a backup and files of the archive that the test chooses."""
        root = self.sandbox.root / f"recovery-{len(list(self.sandbox.root.glob('recovery-*')))}"
        data, wal = root / "data", root / "wal"
        root.mkdir()
        shutil.copytree(self.data[backup], data, symlinks=True)
        data.chmod(0o700)
        wal.mkdir()
        for name in names:
            shutil.copy(self.archive.path / name, wal / name)
        lines = {
            "listen_addresses": "",
            "port": str(self.cluster.port),
            "unix_socket_directories": str(root),
            "archive_mode": "on" if archiving else "off",
            "restore_command": f"cp {wal}/%f %p",
            "recovery_target_action": "pause",
            "max_prepared_transactions": "10",
            "track_commit_timestamp": "on",
            "fsync": "off",
            "log_timezone": "UTC",
            "hot_standby": "on",
            **settings,
        }
        with open(data / "postgresql.conf", "a") as handle:
            handle.writelines(f"{key} = '{value}'\n" for key, value in lines.items())
        (data / "recovery.signal").touch()
        return Recovery(self, root)


@dataclass
class Recovery:
    """A server that has recovered to its target and stands there."""

    server: Server
    root: Path

    def __enter__(self) -> Recovery:
        installation = self.server.cluster.installation
        with open(self.root / "pg_ctl.log", "ab") as log:
            subprocess.call(
                [installation.program("pg_ctl"), "start", "-w", "-s", "-D", str(self.root / "data")]
                + ["-l", str(self.root / "log")],
                env=installation.environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        wait_for(self._stands, "the recovery to stand at its target", timeout=240)
        return self

    def __exit__(self, *_dummy: object) -> None:
        installation = self.server.cluster.installation
        subprocess.call(
            [installation.program("pg_ctl"), "stop", "-s", "-m", "immediate", "-D", str(self.root / "data")],
            env=installation.environment,
            stdin=subprocess.DEVNULL,
        )
        shutil.rmtree(self.root / "data")

    def _stands(self) -> bool:
        text = self.log()
        assert "FATAL" not in text.replace("FATAL:  the database system is", ""), text
        return "pausing at the end of recovery" in text

    def log(self) -> str:
        return (self.root / "log").read_text() if (self.root / "log").exists() else ""

    def promote(self) -> int:
        """End the recovery, and wait until the new timeline's history is archived; its number."""
        installation = self.server.cluster.installation
        argv = ["promote", "-w", "-s", "-D", str(self.root / "data")]
        subprocess.check_call([installation.program("pg_ctl"), *argv], env=installation.environment)
        timeline = int(self.sql("SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)")[0][0], 16)
        history = self.server.archive.path / f"{timeline:08X}.history"
        wait_for(history.exists, f"{history.name} archived")
        return timeline

    def close_segment(self) -> str:
        """End the current segment and wait until it is archived."""
        query = "SELECT pg_walfile_name(pg_logical_emit_message(false, 'test', 'x'))"
        name = str(self.sql(query)[0][0])
        self.sql("SELECT pg_switch_wal()")
        wait_for((self.server.archive.path / name).exists, f"{name} archived")
        return name

    def stop_line(self) -> str:
        """'recovery stopping before commit of transaction 7, time …', as the server says it."""
        found = re.findall(r"LOG:  (recovery stopping .*)", self.log())
        return str(found[-1])

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        import psycopg

        dsn = f"host={self.root} port={self.server.cluster.port} user=postgres dbname=postgres"
        with psycopg.connect(dsn, autocommit=True) as connection:
            return connection.execute(query.encode()).fetchall()


def number(text: str) -> int:
    """An LSN as a number, the schoolbook way."""
    high, low = text.split("/")
    return int(high, 16) * 2**32 + int(low, 16)


@dataclass(frozen=True)
class Line:
    """One record as a plain run of pg_waldump over everything prints it."""

    lsn: int
    rmgr: str
    xid: int
    description: str


def all_records(server: Server, archive: PlainArchive | None = None, timeline: int = 1) -> list[Line]:
    """Every record of a timeline's segments, read in one go and split by hand."""
    segments = (archive or server.archive).segments(timeline)
    text = subprocess.run(
        [server.cluster.installation.program("pg_waldump"), str(segments[0]), str(segments[-1])],
        env=server.cluster.installation.environment,
        check=False,
        capture_output=True,
        text=True,
    ).stdout
    found = []
    for line in text.splitlines():
        if line.startswith("rmgr:"):
            head, _dummy, description = line.partition(", desc: ")
            fields = head.replace(",", "").split()
            found.append(
                Line(
                    number(fields[fields.index("lsn:") + 1]),
                    fields[1],
                    int(fields[fields.index("tx:") + 1]),
                    description,
                )
            )
    return found
