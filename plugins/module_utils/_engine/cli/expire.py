# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""``dbkeeper expire``, ``pin`` and ``unpin``: on the cluster's host, or on the repository's with ``--root``."""

from __future__ import annotations

import argparse
from typing import Any

from ..backup.expire import (
    dump_policy_of,
    expire_cluster,
    expire_there,
    local_repository,
    policy_of,
)
from ..cluster.config import ClusterConfig
from ..repository.layout import Repository
from ..retention.expiry import pin
from ..retention.policy import Policy
from ..retention.words import lines, word
from .configured import add_root

Outcome = tuple[dict[str, Any], list[str]]


def add_expire(parser: argparse.ArgumentParser) -> None:
    """Options of ``expire``; what is not given is as the cluster's description says."""
    add_root(parser)
    parser.add_argument("--dry-run", action="store_true", help="prove and show what would go, delete nothing")
    parser.add_argument("--full-count", type=int, metavar="N", help="how many full backups stay at least")
    parser.add_argument("--window", metavar="DURATION", help="how far back every moment stays: 14d; or none")
    parser.add_argument("--wal", metavar="DURATION", help="how far back WAL stays, if shorter: 7d; or none")
    rules = "daily=7,weekly=4,monthly=3,yearly=0,count=0,age=30d,minimum=1"
    parser.add_argument("--dumps", metavar="RULES", help=f"which logical dumps stay: {rules}")
    parser.add_argument("--schema-dumps", metavar="RULES", help="the same for dumps without rows")
    parser.add_argument(
        "--bin-directory",
        metavar="DIR",
        default="/nonexistent",
        help="PostgreSQL's programs, where WAL is new",
    )
    parser.set_defaults(on_repository=_expire_there)


def add_pin(parser: argparse.ArgumentParser, *, pinned: bool) -> None:
    """Options of ``pin`` and ``unpin``."""
    add_root(parser)
    parser.add_argument(
        "label", metavar="LABEL", help="a backup's label, or dump/DATABASE/LABEL, as dbkeeper info lists them"
    )
    parser.set_defaults(on_repository=_pin_there, pinned=pinned)


def expire_command(options: argparse.Namespace, config: ClusterConfig, language: str) -> Outcome:
    """On the cluster's host."""
    dumps = dump_policy_of(options.dumps, options.schema_dumps, config.dump_retention)
    result = expire_cluster(config, _policy(options, config.retention), dumps=dumps, check=options.dry_run)
    return result, lines(result, language)


def pin_command(options: argparse.Namespace, config: ClusterConfig, language: str) -> Outcome:
    """On the cluster's host."""
    return _pin_there(options, local_repository(config, f"pin backup {options.label}"), language)


def _expire_there(options: argparse.Namespace, repository: Repository, language: str) -> Outcome:
    policy = _policy(options, None)
    result = expire_there(
        repository.root,
        repository.cluster,
        policy,
        options.bin_directory,
        dumps=dump_policy_of(options.dumps, options.schema_dumps, None),
        check=options.dry_run,
    )
    return result, lines(result, language)


def _policy(options: argparse.Namespace, described: Policy | None) -> Policy | None:
    return policy_of(options.full_count, options.window, options.wal, described)


def _pin_there(options: argparse.Namespace, repository: Repository, language: str) -> Outcome:
    result = pin(repository, options.label, pinned=options.pinned)
    return result, [word("pin" if options.pinned else "unpin", language, label=options.label)]
