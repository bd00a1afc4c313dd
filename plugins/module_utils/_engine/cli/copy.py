# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""``dbkeeper copy``: send what is new to other places, say what is there, bring it back."""

from __future__ import annotations

import argparse
from typing import Any

from ..cluster.config import ClusterConfig
from ..copies import words
from ..copies.operation import copy, prepare_copies

Outcome = tuple[dict[str, Any], list[str]]


def add_copy(parser: argparse.ArgumentParser) -> None:
    """Options of ``copy``."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="which copies; all that are described")
    parser.add_argument("--dry-run", action="store_true", help="show what would be sent, send nothing")
    parser.add_argument(
        "--prepare", action="store_true", help="make the place ready (once): its marker is written"
    )
    parser.add_argument("--anew", action="store_true", help="with --prepare: the place is really a new one")
    parser.add_argument(
        "--check-all",
        action="store_true",
        help="take the digests of everything in the copy again, and send what is damaged there",
    )


def copy_command(options: argparse.Namespace, config: ClusterConfig, language: str) -> Outcome:
    """On the host of the repository."""
    if options.prepare:
        result = prepare_copies(config, options.names, anew=options.anew, check=options.dry_run)
        return result, words.prepared(result, language)
    result = copy(config, options.names, check=options.dry_run, check_all=options.check_all)
    return result, words.copied(result, language)
