# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Freshly initialised data directories, made once for each kind and copied: initdb is slow."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .installation import Installation, run

SUPERUSER = "postgres"
BACKUP_USER = "dbkeeper"

#: What the engine gives to the role that takes backups (cluster/replication_role.py), and no more.
_SETUP = f"CREATE ROLE {BACKUP_USER} LOGIN REPLICATION;"


@dataclass(frozen=True)
class Kind:
    """What tells one template from another. Clusters of one kind share their system identifier."""

    segment_mb: int = 1
    checksums: bool = True
    #: Another number is another system identifier.
    variant: int = 0


def copy_template(installation: Installation, kind: Kind, target: Path) -> None:
    """Make ``target`` a new data directory of this kind."""
    shutil.copytree(_template(installation, kind), target, symlinks=True)
    target.chmod(0o700)


def _template(installation: Installation, kind: Kind) -> Path:
    version = run([installation.program("postgres"), "--version"], environment=installation.environment)
    identity = hashlib.sha256(f"{version}{kind}{_SETUP}{installation.bin_directory}".encode()).hexdigest()[
        :12
    ]
    store = Path(tempfile.gettempdir()) / f"dbkeeper-test-templates-{os.getuid()}"
    store.mkdir(mode=0o700, exist_ok=True)
    ready = store / f"{installation.major}-{kind.segment_mb}MB-{identity}"
    with open(store / f"{ready.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            unfinished = store / f"{ready.name}.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            _initialise(installation, kind, unfinished)
            unfinished.rename(ready)
    return ready


def _initialise(installation: Installation, kind: Kind, target: Path) -> None:
    argv = [installation.program("initdb"), "-D", str(target), "-U", SUPERUSER, "-A", "trust", "-E", "UTF8"]
    argv += ["--locale=C.UTF-8", "--no-sync", "--no-instructions", f"--wal-segsize={kind.segment_mb}"]
    if kind.checksums:
        argv.append("--data-checksums")
    elif installation.major >= 18:
        argv.append("--no-data-checksums")
    run(argv, environment=installation.environment)
    single = [installation.program("postgres"), "--single", "-F", "-j", "-D", str(target), SUPERUSER]
    run(single, environment=installation.environment, stdin=f"{_SETUP}\n\n")
