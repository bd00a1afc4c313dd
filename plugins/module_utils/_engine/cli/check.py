# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""``dbkeeper check``: for people, for programs, for Nagios and Icinga, for Prometheus."""

from __future__ import annotations

import argparse
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.home import repository_named_by
from ..cluster.repository_host import Described, RepositoryHost
from ..core.error_words import cause
from ..core.errors import KeeperError
from ..repository.layout import Repository
from ..watch.check import check, lines, nagios, with_finding
from ..watch.check_there import check_there
from ..watch.finding import FAILED, Finding
from ..watch.metrics import write_metrics
from ..watch.notify import tell_check
from .configured import add_root
from .notify import complain

Outcome = tuple[dict[str, Any], list[str]]
#: Of a plugin that could not look at all.
UNKNOWN = 3


def add_check(parser: argparse.ArgumentParser) -> None:
    """Options of ``check``."""
    add_root(parser)
    parser.set_defaults(on_repository=_check_there)
    parser.add_argument(
        "--nagios",
        action="store_true",
        help="one line with performance data; exit 0 ok, 1 warning, 2 critical, 3 unknown",
    )
    parser.add_argument(
        "--metrics",
        metavar="FILE",
        help="write figures for Prometheus there; or metrics_file of the description",
    )


def check_command(options: argparse.Namespace, config: ClusterConfig, language: str) -> Outcome:
    """Look, judge, tell."""
    result = check(config, repository_named_by(config))
    return _told(options, config, options.metrics or config.metrics_file, result, language)


def _check_there(options: argparse.Namespace, repository: Repository, language: str) -> Outcome:
    """On the host of the repository; without a description by the usual objectives, and nobody is told."""
    host: RepositoryHost = options.described or RepositoryHost(repository.cluster, repository.root)
    result = check_there(host, repository)
    return _told(options, host, options.metrics or host.metrics_file, result, language)


def _told(
    options: argparse.Namespace, config: Described, path: str | None, result: dict[str, Any], language: str
) -> Outcome:
    if path:
        try:
            write_metrics(path, result)
        except KeeperError as error:
            # Whoever looks at the figures sees old ones now; all else that was found is told all the same.
            told = Finding.told("metrics", FAILED, "metrics_bad", cause=cause(error.to_dict()))
            result = with_finding(result, told)
    if options.scheduled:
        tell_check(config, result, complain)
    if options.nagios:
        status, line = nagios(result)
        return {**result, "exit_status": status}, [line]
    return result, lines(result, language)


def unknown(error: KeeperError, cluster: str) -> tuple[int, str]:
    """For Nagios: what it is told when nothing could be looked at."""
    return UNKNOWN, unknown_text(cluster, f"{error.code}: {error.happened}")


def unknown_text(cluster: str, why: str) -> str:
    """The one line of that."""
    text = " ".join(why.replace("|", "/").split())
    return f"DBKEEPER UNKNOWN - {cluster}: {text}"
