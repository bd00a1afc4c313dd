# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""``dbkeeper plan``, ``restore`` and ``undo``."""

from __future__ import annotations

import argparse
import os
from typing import Any

from ..cluster.config import ClusterConfig
from ..core.errors import Refused
from ..recovery.card import done_card, plan_card
from ..recovery.operation import restore, show_plan, undo
from ..recovery.request import RestoreRequest, target_from
from ..repository.place import is_elsewhere
from . import show

Outcome = tuple[dict[str, Any], list[str]]


def add_restore(parser: argparse.ArgumentParser) -> None:
    """Options of ``restore``, beside the target."""
    add_target(parser)
    parser.add_argument("--confirm", metavar="NAME", help="the cluster's name, to say that you mean it")
    parser.add_argument("--check", action="store_true", help="the same as plan")


def add_undo(parser: argparse.ArgumentParser) -> None:
    """Options of ``undo``."""
    parser.add_argument("--confirm", metavar="NAME", help="the cluster's name, to say that you mean it")
    parser.add_argument("--check", action="store_true", help="show what would be done")


def add_target(target: argparse.ArgumentParser) -> None:
    """What is to be restored, from where, and what is accepted."""
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
        "--accept-unarchived",
        action="store_true",
        help="latest: lose what is known to lie behind the archive's end",
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


def plan_command(options: argparse.Namespace, config: ClusterConfig, language: str) -> Outcome:
    """Prove it, touch nothing."""
    result = show_plan(config, _request(options), source=_source(options))
    return result, plan_card(result, language)


def restore_command(options: argparse.Namespace, config: ClusterConfig, language: str) -> Outcome:
    """Beside the live cluster, then in its place."""
    if options.check:
        return plan_command(options, config, language)
    result = restore(config, _request(options), confirm=options.confirm, source=_source(options))
    return result, done_card(result, language) if result["executed"] else plan_card(result, language)


def undo_command(options: argparse.Namespace, config: ClusterConfig, language: str) -> Outcome:
    """Put back what was replaced."""
    result = undo(config, confirm=options.confirm, check=options.check)
    return result, show.undo(result, language)


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


def _source(options: argparse.Namespace) -> str | None:
    """A path, made absolute, or a place elsewhere."""
    given: str | None = options.repository
    return given if given is None or is_elsewhere(given) else os.path.abspath(given)
