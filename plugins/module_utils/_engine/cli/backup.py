# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""``dbkeeper backup``."""

from __future__ import annotations

import argparse
from typing import Any

from ..backup.base import BackupRequest, backup
from ..cluster.config import BACKUP_KINDS, ClusterConfig
from ..core.sizes import parse_duration
from . import show
from .configured import repository_of
from .runbook import after_backup

Outcome = tuple[dict[str, Any], list[str]]


def add_backup(parser: argparse.ArgumentParser) -> None:
    """Options of ``backup``."""
    parser.add_argument("--label", help="a name of your own; done when a verified backup has it")
    parser.add_argument(
        "--max-age", metavar="DURATION", help="nothing to do if a verified backup is younger: 24h, 7d"
    )
    parser.add_argument(
        "--kind",
        choices=BACKUP_KINDS,
        help="auto: incremental where that is possible; otherwise what the description says",
    )
    parser.add_argument("--check", action="store_true", help="show the plan only")


def backup_command(options: argparse.Namespace, config: ClusterConfig, language: str) -> Outcome:
    """Take one, and leave beside it what a restore by hand needs."""
    age = parse_duration(options.max_age, attempted="understand --max-age") if options.max_age else None
    request = BackupRequest(label=options.label, max_age_seconds=age, kind=options.kind)
    repository = repository_of(config)
    result = backup(config, repository, request, check=options.check)
    if result["executed"]:
        result["rescue"] = after_backup(config, repository, options.config)
    return result, show.backup(result, language)
