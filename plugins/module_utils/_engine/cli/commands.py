# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The commands that a person runs: arguments in, one result out, as text or as JSON.

Schedules run them every few minutes, so only the one that is asked for is imported: all of them take four times as
long to load as the smallest. That happens here, before anything is done and before another user is become.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from ..cluster.config import ClusterConfig
from ..cluster.disks import nearest_existing
from ..cluster.repository_host import described_there
from ..core import privilege
from ..core.errors import EXIT_DONE, EXIT_FAILED, KeeperError, unexpected
from ..recovery.card import error_card
from ..repository.layout import Repository
from .configured import act_as_owner, load_configuration, repository_there
from .notify import add_notify, kept, notify_command

Outcome = tuple[dict[str, Any], list[str]]
Command = Callable[[argparse.Namespace, ClusterConfig, str], Outcome]


def run_command(arguments: Sequence[str]) -> int:
    """Parse, run, print. Every error comes out as code, attempted, happened, remedy."""
    if arguments[:1] == ["check"] and "--nagios" in arguments:
        return _for_nagios(arguments)
    return _run(_parser(arguments).parse_args(arguments))


def _for_nagios(arguments: Sequence[str]) -> int:
    """To a monitor the exit statuses of Python and argparse (1, 2) would be a warning and a failed check."""
    from .check import UNKNOWN, unknown_text

    try:
        return _run(_parser(arguments).parse_args(arguments))
    except SystemExit as end:
        if not end.code:
            raise
        why = "its options are not understood: dbkeeper check --help"
    except Exception as error:
        traceback.print_exc()
        why = f"{type(error).__name__}: {error}"
    _say(unknown_text("?", why))
    return UNKNOWN


def _run(options: argparse.Namespace) -> int:
    language = options.lang or _language_of_environment()
    cluster = options.cluster or "?"
    try:
        if getattr(options, "root", None):
            result, lines = _on_repository(options, language)
        else:
            config = load_configuration(options.cluster, options.config)
            cluster = config.cluster
            language = options.lang or config.language or language
            act_as_owner(config)
            command: Command = options.command
            result, lines = _foreseen(command, options, config, language)
    except KeeperError as error:
        if options.json:
            _say(_as_json({"changed": False, "error": error.to_dict()}))
        elif getattr(options, "nagios", False):
            from .check import unknown

            status, line = unknown(error, cluster)
            _say(line)
            return status
        _say("\n".join(error_card(error.to_dict(), cluster, language)), sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        _say("interrupted; run the same command again to continue", sys.stderr)
        return EXIT_FAILED
    _say(_as_json(result) if options.json else "\n".join(lines))
    return int(result.get("exit_status", EXIT_DONE))


def _foreseen(
    command: Command,
    options: argparse.Namespace,
    config: ClusterConfig,
    language: str,
) -> Outcome:
    try:
        return kept(lambda: command(options, config, language), options, config.state_directory, config)
    except OSError as error:
        raise unexpected(error, f"run dbkeeper for cluster {config.cluster}") from error


def _on_repository(options: argparse.Namespace, language: str) -> Outcome:
    """On the repository's host: no cluster, the repository's owner, and its description where there is one."""
    repository = repository_there(options)
    described = described_there(repository.root, repository.cluster, options.config)
    options.described = described
    language = options.lang or (described.language if described else language)
    command: Callable[[argparse.Namespace, Repository, str], Outcome] = options.on_repository
    try:
        if getattr(options, "back", None) is None:
            repository.require("use the repository")
        # What was lost is brought back by the owner of the nearest directory above it.
        privilege.assume(privilege.owner_of(nearest_existing(repository.path)))
        return kept(lambda: command(options, repository, language), options, repository.path, described)
    except OSError as error:
        raise unexpected(error, f"run dbkeeper for repository {repository.path}") from error


def _say(text: str, stream: TextIO | None = None) -> None:
    # What the locale cannot show is shown as an escape: a card must not fail for want of Japanese letters.
    stream = stream or sys.stdout
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()


def _as_json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _language_of_environment() -> str:
    return "ja" if os.environ.get("LC_ALL", os.environ.get("LANG", "")).startswith("ja") else "en"


def _info(_options: argparse.ArgumentParser) -> Command:
    from .info import info_command

    return info_command


def _check(parser: argparse.ArgumentParser) -> Command:
    from .check import add_check, check_command

    add_check(parser)
    return check_command


def _history(parser: argparse.ArgumentParser) -> Command:
    from .history import add_history, history_command

    add_history(parser)
    return history_command


def _notify(parser: argparse.ArgumentParser) -> Command:
    add_notify(parser)
    return notify_command


def _backup(parser: argparse.ArgumentParser) -> Command:
    from .backup import add_backup, backup_command

    add_backup(parser)
    return backup_command


def _load(parser: argparse.ArgumentParser) -> Command:
    from .load import add_load, load_command

    add_load(parser)
    return load_command


def _dump(parser: argparse.ArgumentParser) -> Command:
    from .dump import add_dump, dump_command

    add_dump(parser)
    return dump_command


def _plan(parser: argparse.ArgumentParser) -> Command:
    from .recover import add_target, plan_command

    add_target(parser)
    return plan_command


def _restore(parser: argparse.ArgumentParser) -> Command:
    from .recover import add_restore, restore_command

    add_restore(parser)
    return restore_command


def _undo(parser: argparse.ArgumentParser) -> Command:
    from .recover import add_undo, undo_command

    add_undo(parser)
    return undo_command


def _runbook(parser: argparse.ArgumentParser) -> Command:
    from .runbook import add_runbook, runbook_command

    add_runbook(parser)
    return runbook_command


def _index(parser: argparse.ArgumentParser) -> Command:
    from .info import add_index, index_command

    add_index(parser)
    return index_command


def _copy(parser: argparse.ArgumentParser) -> Command:
    from .copy import add_copy, copy_command

    add_copy(parser)
    return copy_command


def _expire(parser: argparse.ArgumentParser) -> Command:
    from .expire import add_expire, expire_command

    add_expire(parser)
    return expire_command


def _verify(parser: argparse.ArgumentParser) -> Command:
    from .verify import add_verify, verify_command

    add_verify(parser)
    return verify_command


def _pin(parser: argparse.ArgumentParser) -> Command:
    from .expire import add_pin, pin_command

    add_pin(parser, pinned=True)
    return pin_command


def _unpin(parser: argparse.ArgumentParser) -> Command:
    from .expire import add_pin, pin_command

    add_pin(parser, pinned=False)
    return pin_command


def _tune(parser: argparse.ArgumentParser) -> Command:
    from .tune import add_options, tune_command

    add_options(parser)
    return tune_command


#: Name -> what it is for, and what loads it: options are added, the command is returned.
COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], Command]]] = {
    "info": ("show backups, recovery windows, gaps, and what is running", _info),
    "check": ("hold the facts against the objectives; exit 3 when they are not met", _check),
    "history": ("show which runs there were, how each ended, and what is usual", _history),
    "notify": ("tell those who are named in the description, or show what is open", _notify),
    "backup": ("take a base backup", _backup),
    "load": ("load a dump, prove its rows, and put it in a database's place", _load),
    "dump": ("dump databases, schemas or tables, listed back and with proof of rows", _dump),
    "plan": ("prove that a target can be reached and show what a restore would do", _plan),
    "restore": ("restore beside the live cluster, prove it, and swap", _restore),
    "undo": ("put back what the last restore replaced, or abandon a half-done one", _undo),
    "runbook": ("print how to restore this cluster by hand, here and on another host", _runbook),
    "index": ("bring the WAL index up to date", _index),
    "copy": ("send what is new to the copies, each object verified there", _copy),
    "expire": ("delete what is not to be kept any more, proven before", _expire),
    "verify": ("see whether what is stored is still what was stored", _verify),
    "pin": ("keep a backup until it is unpinned", _pin),
    "unpin": ("give a pinned backup back to the policy", _unpin),
    "tune": ("show the settings that suit this host, each with its reason", _tune),
}


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """With the options of the command that is asked for; of all others the names."""
    parser = argparse.ArgumentParser(
        prog="dbkeeper", description="Back up PostgreSQL, prove what can be restored, and restore it."
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--cluster", help="name of the cluster; its configuration is /etc/dbkeeper/NAME.json")
    common.add_argument("--config", metavar="FILE", help="a configuration file, instead of --cluster")
    common.add_argument("--json", action="store_true", help="print the result as JSON")
    common.add_argument("--lang", choices=("en", "ja"), help="language of the text")
    common.add_argument(
        "--scheduled",
        action="store_true",
        help="run by a schedule: tell those whom notify names when it fails",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    for name, (text, load) in COMMANDS.items():
        sub = commands.add_parser(name, help=text, description=text, parents=[common])
        if arguments[:1] == [name]:
            sub.set_defaults(command=load(sub), verb=name)
    commands.add_parser("receive", help="stream WAL as it is written, in the foreground: --cluster NAME")
    commands.add_parser("archive-push", help="archive_command: --cluster NAME %%p")
    commands.add_parser("archive-get", help="restore_command of a staged restore: --plan FILE %%f %%p")
    return parser
