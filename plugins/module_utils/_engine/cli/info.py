# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""``dbkeeper info`` and ``index``: what the repository holds."""

from __future__ import annotations

import argparse
from typing import Any

from ..backup.info import information
from ..backup.kept import expiry_lines
from ..cluster.config import ClusterConfig
from ..core.progress import Progress
from ..repository.engine import NativeEngine
from ..wal.index import WalIndex
from . import show
from .configured import repository_of

Outcome = tuple[dict[str, Any], list[str]]


def add_index(parser: argparse.ArgumentParser) -> None:
    """Options of ``index``."""
    parser.add_argument("--rebuild", action="store_true", help="read the whole archive again")


def info_command(options: argparse.Namespace, config: ClusterConfig, language: str) -> Outcome:
    """Backups, windows, gaps."""
    result = information(config, repository_of(config))
    return result, show.information(result, language) + expiry_lines(result["retention"], language)


def index_command(options: argparse.Namespace, config: ClusterConfig, language: str) -> Outcome:
    """Bring the WAL index up to date."""
    repository = repository_of(config)
    engine = NativeEngine(repository)
    archives = {}
    progress = Progress(f"{config.state_directory}/progress.json", "index")
    for system_id in repository.system_ids():
        progress.phase("read", note=f"system {system_id}")
        archive = WalIndex(repository.index(system_id)).refresh(
            engine.wal_source(system_id),
            config.bin_directory,
            progress=lambda done, total: progress.update(done, total=total),
            anew=options.rebuild,
        )
        archives[system_id] = archive.report
    progress.finish("done")
    changed = any(report["indexed"] or report["removed"] for report in archives.values())
    result = {"changed": changed, "archives": archives}
    return result, show.index(result, language)
