# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Real WAL and real backups for the tests of the repository, and processes of the engine to be killed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.catalog import (
    VERIFIED,
    Backup,
    StoredFile,
    Tablespace,
    write_backup,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.layout import Repository

from .harness.cluster import Cluster
from .harness.installation import Installation
from .harness.sandbox import Sandbox
from .harness.template import Kind

ENGINE = "ansible_collections.dbkeeper.ops.plugins.module_utils._engine"
MOMENT = datetime(2026, 11, 21, 3, 15, tzinfo=timezone.utc)


def make_repository(root: Path) -> Repository:
    """A new repository of cluster ``main``."""
    repository = Repository(str(root), "main")
    repository.create()
    return repository


@dataclass(frozen=True)
class Wal:
    """Finished segments of a real server, as they lie in its pg_wal."""

    major: int
    system_id: int
    segment_bytes: int
    segments: tuple[Path, ...]

    def digest(self, position: int) -> str:
        """SHA-256 of a segment's plain bytes."""
        return hashlib.sha256(self.segments[position].read_bytes()).hexdigest()


def make_wal(
    sandbox: Sandbox,
    installation: Installation,
    *,
    name: str = "origin",
    segment_mb: int = 1,
    count: int = 6,
    variant: int = 0,
) -> Wal:
    """Let a server write so many segments, and keep copies of them."""
    kind = Kind(segment_mb=segment_mb, variant=variant)
    settings = {"wal_keep_size": f"{segment_mb * (count + 8)}MB"}
    cluster = Cluster(
        sandbox, name, installation=installation, kind=kind, archiving=False, settings=settings
    ).start()
    cluster.sql("CREATE TABLE filler (n int, t text)")
    names = []
    for number in range(count):
        cluster.sql("INSERT INTO filler SELECT n, md5(n::text) FROM generate_series(1, 500 + %s) n", number)
        names.append(cluster.switch_wal())
    kept = sandbox.root / f"{name}-wal"
    kept.mkdir()
    for one in names:
        shutil.copyfile(cluster.data_directory / "pg_wal" / one, kept / one)
    wal = Wal(
        installation.major,
        int(cluster.system_id),
        segment_mb << 20,
        tuple(kept / one for one in names),
    )
    cluster.stop()
    return wal


def engine_process(
    code: str,
    *arguments: object,
    environment: Mapping[str, str] | None = None,
    enter: Sequence[str] = (),
) -> subprocess.Popen[str]:
    """Python with the engine in it, in a process of its own: to be killed, or sent to a small disk."""
    argv = [*enter, sys.executable, "-c", code, *map(str, arguments)]
    surroundings = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        **(environment or {}),
    }
    return subprocess.Popen(
        argv,
        env=surroundings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def take_backup(cluster: Cluster, repository: Repository, label: str) -> Backup:
    """pg_basebackup in the engine's way, entered into the catalog by the test itself."""
    directory = Path(repository.backup(label))
    directory.mkdir()
    argv = [
        "-h",
        str(cluster.socket_directory),
        "-p",
        str(cluster.port),
        "-U",
        "dbkeeper",
        "-D",
        str(directory),
    ]
    argv += ["-Ft", "-X", "none", "-c", "fast", "--no-sync", "--manifest-checksums=SHA256"]
    server_side = cluster.installation.major >= 15
    cluster.program("pg_basebackup", *argv, *(["--compress=server-zstd:level=1"] if server_side else []))
    for tar in directory.glob("*.tar"):
        subprocess.run(["zstd", "-q", "--rm", str(tar)], check=True)
    rows = cluster.sql(
        "SELECT oid, pg_tablespace_location(oid), spcname FROM pg_tablespace WHERE spcname !~ '^pg_'"
    )
    manifest = json.loads((directory / "backup_manifest").read_text())
    backup = Backup(
        label=label,
        status=VERIFIED,
        started_at=MOMENT,
        stopped_at=MOMENT,
        system_id=int(cluster.system_id),
        major=cluster.installation.major,
        wal_segment_size=cluster.kind.segment_mb << 20,
        timeline=1,
        start_lsn=1,
        stop_lsn=2,
        plain_bytes=sum(file["Size"] for file in manifest["Files"]),
        tablespaces=tuple(Tablespace(oid, path, name) for oid, path, name in rows),
    )
    return enter(repository, backup)


def enter(repository: Repository, backup: Backup, **changes: Any) -> Backup:
    """Write the catalog entry that goes with the files as they are now."""
    directory = Path(repository.backup(backup.label))
    files = tuple(
        StoredFile(path.name, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(directory.iterdir())
        if path.name != "backup.json"
    )
    entered = backup.changed(files=files, **changes)
    write_backup(repository, entered)
    return entered
