# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The commands that a person runs: arguments in, one result out, as text or as JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from ..backup.base import BackupRequest, backup
from ..backup.info import information
from ..backup.kept import expiry_lines
from ..cluster.config import BACKUP_KINDS, ClusterConfig
from ..cluster.disks import nearest_existing
from ..cluster.repository_host import described_there
from ..core import privilege
from ..core.errors import EXIT_DONE, EXIT_FAILED, KeeperError, Refused, unexpected
from ..core.progress import Progress
from ..core.sizes import parse_duration
from ..recovery.card import done_card, error_card, plan_card
from ..recovery.operation import restore, show_plan, undo
from ..recovery.request import RestoreRequest, target_from
from ..repository.engine import NativeEngine
from ..repository.layout import Repository, is_elsewhere
from ..wal.index import WalIndex
from . import show
from .check import add_check, check_command, unknown
from .copy import add_copy, copy_command
from .dump import add_dump, dump_command
from .expire import add_expire, add_pin, expire_command, pin_command, repository_there
from .history import add_history, history_command
from .load import add_load, load_command
from .notify import add_notify, kept, notify_command
from .runbook import after_backup, runbook_result
from .tune import add_options as add_tune_options
from .tune import tune_command
from .verify import add_verify, verify_command

CONFIGURATION_DIRECTORY = "/etc/dbkeeper"
Outcome = tuple[dict[str, Any], list[str]]


def run_command(arguments: Sequence[str]) -> int:
    """Parse, run, print. Every error comes out as code, attempted, happened, remedy."""
    options = _parser().parse_args(arguments)
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
            command: Callable[[argparse.Namespace, ClusterConfig, str], Outcome] = options.command
            result, lines = _foreseen(command, options, config, language)
    except KeeperError as error:
        if options.json:
            _say(_as_json({"changed": False, "error": error.to_dict()}))
        elif getattr(options, "nagios", False):
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
    command: Callable[[argparse.Namespace, ClusterConfig, str], Outcome],
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


def load_configuration(cluster: str | None, path: str | None) -> ClusterConfig:
    """The configuration named on the command line; without a name, the only one there is."""
    if path is not None:
        return ClusterConfig.load(path)
    if cluster is not None:
        return ClusterConfig.load(f"{CONFIGURATION_DIRECTORY}/{cluster}.json")
    try:
        names = sorted(name[:-5] for name in os.listdir(CONFIGURATION_DIRECTORY) if name.endswith(".json"))
    except FileNotFoundError:
        names = []
    if len(names) != 1:
        raise Refused(
            "cluster-missing",
            attempted="find the cluster's configuration",
            happened=f"{len(names)} clusters are configured in {CONFIGURATION_DIRECTORY}: {', '.join(names) or 'none'}",
            remedy="Name one with --cluster; the backup role writes the configuration.",
        )
    return ClusterConfig.load(f"{CONFIGURATION_DIRECTORY}/{names[0]}.json")


def act_as_owner(config: ClusterConfig) -> None:
    """From here on be the owner of the data directory (or of the nearest one above, when it is gone)."""
    privilege.assume(privilege.owner_of(nearest_existing(config.data_directory)))


def _language_of_environment() -> str:
    return "ja" if os.environ.get("LC_ALL", os.environ.get("LANG", "")).startswith("ja") else "en"


def _repository(config: ClusterConfig) -> Repository:
    repository = config.open_repository()
    repository.require("use the repository")
    return repository


def _info(options: argparse.Namespace, config: ClusterConfig, language: str) -> Outcome:
    result = information(config, _repository(config))
    return result, show.information(result) + expiry_lines(result["retention"], language)


def _backup(options: argparse.Namespace, config: ClusterConfig, language: str) -> Outcome:
    age = parse_duration(options.max_age, attempted="understand --max-age") if options.max_age else None
    request = BackupRequest(label=options.label, max_age_seconds=age, kind=options.kind)
    repository = _repository(config)
    result = backup(config, repository, request, check=options.check)
    if result["executed"]:
        result["rescue"] = after_backup(config, repository, options.config)
    return result, show.backup(result)


def _request(options: argparse.Namespace) -> RestoreRequest:
    target, asked = target_from(
        time=options.target_time,
        lsn=options.target_lsn,
        xid=options.target_xid,
        name=options.target_name,
        latest=options.latest,
        immediate=options.immediate,
        inclusive=not options.exclusive,
        timeline=options.timeline,
        allow_idle_gap=options.allow_idle_gap,
    )
    mapping = dict(item.split("=", 1) for item in options.tablespace or [] if "=" in item)
    if len(mapping) != len(options.tablespace or []):
        raise Refused(
            "tablespace-malformed",
            attempted="understand --tablespace",
            happened="a mapping is not of the form OLD=NEW",
            remedy="Write --tablespace /old/directory=/new/directory.",
        )
    return RestoreRequest(
        target,
        asked,
        backup=options.backup,
        tablespace_map=mapping,
        again=options.again,
        accept_unarchived=options.accept_unarchived,
        skip_backup=options.skip_backup,
        accept_page_faults=options.accept_page_faults,
        verify_amcheck=options.amcheck,
        accept_collation_change=options.accept_collation_change,
        accept_missing_libraries=options.accept_missing_libraries,
        accept_other_system=options.accept_other_system,
        use_partial=options.use_partial,
    )


def _plan(options: argparse.Namespace, config: ClusterConfig, language: str) -> Outcome:
    result = show_plan(config, _request(options), source=_source(options))
    return result, plan_card(result, language)


def _restore(options: argparse.Namespace, config: ClusterConfig, language: str) -> Outcome:
    if options.check:
        return _plan(options, config, language)
    result = restore(config, _request(options), confirm=options.confirm, source=_source(options))
    return result, done_card(result, language) if result["executed"] else plan_card(result, language)


def _source(options: argparse.Namespace) -> str | None:
    """A path, made absolute, or a place elsewhere."""
    given: str | None = options.repository
    return given if given is None or is_elsewhere(given) else os.path.abspath(given)


def _undo(options: argparse.Namespace, config: ClusterConfig, language: str) -> Outcome:
    result = undo(config, confirm=options.confirm, check=options.check)
    return result, show.undo(result)


def _runbook(options: argparse.Namespace, config: ClusterConfig, language: str) -> Outcome:
    return runbook_result(config, _repository(config), options.config, language, keep=options.keep)


def _index(options: argparse.Namespace, config: ClusterConfig, language: str) -> Outcome:
    repository = _repository(config)
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
    return result, show.index(result)


def _parser() -> argparse.ArgumentParser:
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

    def add(name: str, command: Callable[..., Outcome], text: str, parents: Sequence[Any] = ()) -> Any:
        sub = commands.add_parser(name, help=text, description=text, parents=[common, *parents])
        sub.set_defaults(command=command, verb=name)
        return sub

    target = _target_options()
    add("info", _info, "show backups, recovery windows, gaps, and what is running")
    add_check(
        add("check", check_command, "hold the facts against the objectives; exit 3 when they are not met")
    )
    add_history(
        add("history", history_command, "show which runs there were, how each ended, and what is usual")
    )
    add_notify(
        add("notify", notify_command, "tell those who are named in the description, or show what is open")
    )
    sub = add("backup", _backup, "take a base backup")
    sub.add_argument("--label", help="a name of your own; done when a verified backup has it")
    sub.add_argument(
        "--max-age", metavar="DURATION", help="nothing to do if a verified backup is younger: 24h, 7d"
    )
    sub.add_argument(
        "--kind",
        choices=BACKUP_KINDS,
        help="auto: incremental where that is possible; otherwise what the description says",
    )
    sub.add_argument("--check", action="store_true", help="show the plan only")
    add_load(add("load", load_command, "load a dump, prove its rows, and put it in a database's place"))
    add_dump(
        add("dump", dump_command, "dump databases, schemas or tables, listed back and with proof of rows")
    )
    add("plan", _plan, "prove that a target can be reached and show what a restore would do", [target])
    sub = add("restore", _restore, "restore beside the live cluster, prove it, and swap", [target])
    sub.add_argument("--confirm", metavar="NAME", help="the cluster's name, to say that you mean it")
    sub.add_argument("--check", action="store_true", help="the same as plan")
    sub = add("undo", _undo, "put back what the last restore replaced, or abandon a half-done one")
    sub.add_argument("--confirm", metavar="NAME", help="the cluster's name, to say that you mean it")
    sub.add_argument("--check", action="store_true", help="show what would be done")
    sub = add("runbook", _runbook, "print how to restore this cluster by hand, here and on another host")
    sub.add_argument("--keep", action="store_true", help="bring the copy in the repository up to date, too")
    sub = add("index", _index, "bring the WAL index up to date")
    sub.add_argument("--rebuild", action="store_true", help="read the whole archive again")
    add_copy(add("copy", copy_command, "send what is new to the copies, each object verified there"))
    add_expire(add("expire", expire_command, "delete what is not to be kept any more, proven before"))
    add_verify(add("verify", verify_command, "see whether what is stored is still what was stored"))
    add_pin(add("pin", pin_command, "keep a backup until it is unpinned"), pinned=True)
    add_pin(add("unpin", pin_command, "give a pinned backup back to the policy"), pinned=False)
    add_tune_options(add("tune", tune_command, "show the settings that suit this host, each with its reason"))
    commands.add_parser("receive", help="stream WAL as it is written, in the foreground: --cluster NAME")
    commands.add_parser("archive-push", help="archive_command: --cluster NAME %%p")
    commands.add_parser("archive-get", help="restore_command of a staged restore: --plan FILE %%f %%p")
    return parser


def _target_options() -> argparse.ArgumentParser:
    target = argparse.ArgumentParser(add_help=False)
    target.add_argument(
        "--target-time", metavar="TIME", help="with offset or zone: '2026-11-21 03:04:05 Asia/Tokyo'"
    )
    target.add_argument("--target-lsn", metavar="LSN", help="a position: 0/3000060")
    target.add_argument("--target-xid", metavar="XID", help="a transaction id")
    target.add_argument("--target-name", metavar="NAME", help="a restore point")
    target.add_argument(
        "--latest", action="store_true", help="the newest commit of this cluster; stops it first"
    )
    target.add_argument("--immediate", action="store_true", help="as soon as the backup is consistent")
    target.add_argument("--exclusive", action="store_true", help="stop before the target instead of after it")
    target.add_argument("--timeline", type=int, metavar="N", help="the branch on which the target lies")
    target.add_argument(
        "--allow-idle-gap", action="store_true", help="take the end of the archive if nothing follows"
    )
    target.add_argument(
        "--repository",
        metavar="DIR",
        help="restore from this repository, such as a copy that was brought back",
    )
    target.add_argument("--backup", metavar="LABEL", help="start from this backup")
    target.add_argument("--tablespace", action="append", metavar="OLD=NEW", help="put a tablespace elsewhere")
    target.add_argument("--again", action="store_true", help="repeat a restore that was done before")
    target.add_argument(
        "--accept-unarchived", action="store_true", help="latest: lose what a crash left unarchived"
    )
    target.add_argument(
        "--accept-other-system", action="store_true", help="put aside another cluster that lies in the place"
    )
    target.add_argument("--use-partial", action="store_true", help="take in unfinished segments (.partial)")
    target.add_argument(
        "--accept-page-faults", action="store_true", help="start from a backup with damaged pages, too"
    )
    target.add_argument(
        "--amcheck", action="store_true", help="check every table and index (pg_amcheck) before the swap"
    )
    target.add_argument(
        "--accept-collation-change", action="store_true", help="restore where text is ordered otherwise"
    )
    target.add_argument(
        "--accept-missing-libraries", action="store_true", help="restore where libraries of extensions lack"
    )
    target.add_argument("--skip-backup", action="store_true", help="no new base backup at the end")
    return target
