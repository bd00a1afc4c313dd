# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""``dbkeeper copy``: send what is new to other places, say what is there, bring it back."""

from __future__ import annotations

import argparse
import os
from typing import Any

from ..cluster.repository_host import Described
from ..copies import words
from ..copies.back import back_to, bring_back, list_copies
from ..copies.operation import copy, prepare_copies
from ..repository.layout import Repository
from .configured import add_root, required_there

Outcome = tuple[dict[str, Any], list[str]]


def add_copy(parser: argparse.ArgumentParser) -> None:
    """Options of ``copy``."""
    add_root(parser)
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

    parser.add_argument("--list", action="store_true", help="show what the copies hold")
    parser.add_argument(
        "--back", metavar="DIRECTORY", help="bring the copy back into a directory, which is a repository then"
    )
    parser.add_argument(
        "--identity", metavar="FILE", help="with --back: the private key of an encrypted copy"
    )
    parser.add_argument(
        "--target-time", metavar="TIME", help="with --back: only what a restore to that moment needs"
    )
    parser.add_argument("--target-lsn", metavar="LSN", help="with --back: the same for a position")
    parser.add_argument(
        "--latest", action="store_true", help="with --back: only the newest backup and the WAL after it"
    )
    parser.set_defaults(on_repository=_copy_there)


def _copy_there(options: argparse.Namespace, repository: Repository, language: str) -> Outcome:
    return copy_command(options, required_there(options, repository, "copies"), language)


def copy_command(options: argparse.Namespace, config: Described, language: str) -> Outcome:
    """On the host of the repository: that of the cluster, or another one (``--root``)."""
    if options.list:
        result = list_copies(config, options.names)
        return result, words.listed(result, language)
    if options.back is not None:
        return _back(options, config, language)
    if options.prepare:
        result = prepare_copies(config, options.names, anew=options.anew, check=options.dry_run)
        return result, words.prepared(result, language)
    result = copy(config, options.names, check=options.dry_run, check_all=options.check_all)
    return result, words.copied(result, language)


def _back(options: argparse.Namespace, config: Described, language: str) -> Outcome:
    result = bring_back(
        config,
        options.names,
        os.path.abspath(options.back),
        identity_file=os.path.abspath(options.identity) if options.identity else None,
        target=back_to(options.target_time, options.target_lsn, options.latest),
        check=options.dry_run,
    )
    return result, words.brought_back(result, language)
