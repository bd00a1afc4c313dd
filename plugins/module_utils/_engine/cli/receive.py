# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""``dbkeeper receive``: in the foreground, for systemd; also on the repository's host, which knows no cluster."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from ..backup.receive import Receiver, ReceiveRequest
from ..cluster.config import ClusterConfig, ReceiveSettings
from ..cluster.replication import parse_connection
from ..core import privilege
from ..core.clock import format_utc, utc_now
from ..core.errors import EXIT_DONE, KeeperError, Refused, unexpected
from ..repository.layout import Repository

_ATTEMPTED = "receive WAL"


def run_receive(arguments: Sequence[str]) -> int:
    """Until a signal asks to end: 0. Refused: 2, which a service manager tries again."""
    options = _parser().parse_args(arguments)
    try:
        if options.root:
            request, repository = _without_configuration(options)
        else:
            request, repository = _configured(options)
        privilege.assume(privilege.owner_of(repository.root))
        receiver = Receiver(request, repository, _tell)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda _number, _frame: receiver.end())
        receiver.run()
    except KeeperError as error:
        _tell(error.to_text())
        return error.exit_status
    except OSError as error:
        failure = unexpected(error, _ATTEMPTED)
        _tell(failure.to_text())
        return failure.exit_status
    _tell("ended as asked")
    return EXIT_DONE


def _without_configuration(options: argparse.Namespace) -> tuple[ReceiveRequest, Repository]:
    missing = [name for name in ("cluster", "bin_directory", "connection") if not getattr(options, name)]
    if missing:
        raise Refused(
            "options-missing",
            attempted=_ATTEMPTED,
            happened=f"with --root also needed: {', '.join('--' + name.replace('_', '-') for name in missing)}",
            remedy="dbkeeper receive --root /var/lib/dbkeeper/repository --cluster main "
            "--bin-directory /usr/lib/postgresql/15/bin --connection 'host=db1 user=dbkeeper sslmode=verify-full'",
        )
    request = ReceiveRequest(
        options.bin_directory, parse_connection(options.connection), options.slot or ReceiveSettings.slot
    )
    return request, Repository(os.path.abspath(options.root), options.cluster)


def _configured(options: argparse.Namespace) -> tuple[ReceiveRequest, Repository]:
    config = ClusterConfig.load(options.config or f"/etc/dbkeeper/{options.cluster or 'main'}.json")
    if config.repository_is_elsewhere:
        raise Refused(
            "repository-elsewhere",
            attempted=_ATTEMPTED,
            happened=f"the repository is {config.repository}; what streams fsyncs into it and must be where it is",
            remedy="Run it on the repository's host: dbkeeper receive --root DIRECTORY --cluster "
            f"{config.cluster} --bin-directory … --connection 'host=… user={config.backup_user}'",
        )
    settings = config.receive or ReceiveSettings()
    connection = options.connection or settings.connection
    words = (
        parse_connection(connection)
        if connection
        else {"host": config.socket_directory, "port": str(config.port), "user": config.backup_user}
    )
    request = ReceiveRequest(
        config.bin_directory, words, options.slot or settings.slot, config.backup.compression_level
    )
    return request, Repository(config.repository, config.cluster)


def _tell(text: str) -> None:
    sys.stdout.write(f"{format_utc(utc_now())} {text}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dbkeeper receive",
        description="Stream WAL into the repository as it is written; runs until it is told to end.",
    )
    parser.add_argument("--cluster", help="name of the cluster; its configuration is /etc/dbkeeper/NAME.json")
    parser.add_argument("--config", metavar="FILE", help="a configuration file, instead of --cluster")
    parser.add_argument("--root", metavar="DIRECTORY", help="a repository; then no configuration is needed")
    parser.add_argument("--bin-directory", metavar="DIRECTORY", help="PostgreSQL's programs, with --root")
    parser.add_argument("--connection", metavar="WORDS", help="libpq's keyword=value words; no password")
    parser.add_argument("--slot", metavar="NAME", help="the replication slot; made when missing")
    return parser
