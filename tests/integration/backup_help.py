# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the tests of base backups look at: entries, stored files, the program that copies."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from .harness.cluster import Cluster
from .harness.waiting import wait_for

#: Makes a copy of the empty cluster (3 MB compressed, and that is what the limit is for) take six seconds.
SLOWLY = {"backup": {"compression_level": 1, "max_rate_kbytes": 512}}


def base(cluster: Cluster) -> Path:
    """Where the cluster's backups are, as seen by the test."""
    return cluster.repository / cluster.name / "base"


def entries(cluster: Cluster) -> dict[str, dict[str, Any]]:
    """The catalog, straight from its files."""
    return {path.parent.name: json.loads(path.read_text()) for path in base(cluster).glob("*/backup.json")}


def statuses(cluster: Cluster) -> list[str]:
    """The status of every backup, in the order of their labels."""
    return [entry["status"] for _dummy, entry in sorted(entries(cluster).items())]


def stored(directory: Path) -> dict[str, tuple[int, str]]:
    """Names, sizes and SHA-256 of all files but the entry."""
    return {
        path.name: (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in directory.iterdir()
        if path.name != "backup.json"
    }


def copier(cluster: Cluster) -> int | None:
    """The process number of pg_basebackup at work for the cluster."""
    mark = os.fsencode(cluster.root)
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                arguments = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if os.path.basename(arguments[0]) == b"pg_basebackup" and any(mark in item for item in arguments):
                return int(name)
    return None


def wait_for_copier(cluster: Cluster) -> int:
    """Until pg_basebackup has written something."""

    def busy() -> int | None:
        written = sum(path.stat().st_size for path in base(cluster).glob("*/.incoming/*.zst"))
        return copier(cluster) if written else None

    found = wait_for(busy, "pg_basebackup writing into the repository")
    assert found is not None
    return found
