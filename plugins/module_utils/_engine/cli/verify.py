# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""``dbkeeper verify``: on the cluster's host, or on the repository's with ``--root``."""

from __future__ import annotations

import argparse
from typing import Any

from ..cluster.config import ClusterConfig
from ..core.sizes import parse_duration
from ..repository.layout import Repository
from ..watch.trial import trial
from ..watch.verification import verify_cluster, verify_there
from ..watch.verify import VerifyRequest
from ..watch.verify_words import lines, trial_lines
from .configured import add_root

Outcome = tuple[dict[str, Any], list[str]]


def add_verify(parser: argparse.ArgumentParser) -> None:
    """Options of ``verify``."""
    add_root(parser)
    parser.add_argument("labels", nargs="*", metavar="LABEL", help="only these backups and dumps, thoroughly")
    parser.add_argument(
        "--thorough", action="store_true", help="read everything; goes on where an interrupted one ended"
    )
    parser.add_argument(
        "--trial",
        action=_Trial,
        metavar="DATABASE",
        help="load the newest dump of this database into a scratch one, prove its rows, and drop it",
    )
    parser.add_argument("--max-rate", type=int, metavar="KB", help="read so many kB a second at most")
    parser.add_argument(
        "--max-age",
        metavar="DURATION",
        help="nothing to do if the last one ended less than this ago: 24h, 7d",
    )
    parser.add_argument("--check", action="store_true", help="show what would be read, and why")
    parser.add_argument(
        "--bin-directory",
        metavar="DIR",
        default="/nonexistent",
        help="with --root: PostgreSQL's programs, where WAL is new",
    )
    parser.set_defaults(on_repository=_verify_there)


def verify_command(options: argparse.Namespace, config: ClusterConfig, language: str) -> Outcome:
    """On the cluster's host."""
    if options.trial is not None:
        age = _request(options).max_age_seconds
        result = trial(config, options.trial, check=options.check, max_age_seconds=age)
        return result, trial_lines(result, language)
    result = verify_cluster(config, _request(options), check=options.check)
    return result, lines(result, language)


class _Trial(argparse.Action):
    """It has a line of its own in the history."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        namespace.trial, namespace.verb = values, "trial"


def _verify_there(options: argparse.Namespace, repository: Repository, language: str) -> Outcome:
    result = verify_there(
        repository.root, repository.cluster, _request(options), options.bin_directory, check=options.check
    )
    return result, lines(result, language)


def _request(options: argparse.Namespace) -> VerifyRequest:
    age = parse_duration(options.max_age, attempted="understand --max-age") if options.max_age else None
    return VerifyRequest(tuple(options.labels), options.thorough, options.max_rate, age)
