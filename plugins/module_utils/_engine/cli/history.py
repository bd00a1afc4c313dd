# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""``dbkeeper history``: who did what, when, how long it took and how it ended; and what is usual."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from ..cluster.config import ClusterConfig
from ..core.clock import parse_moment, utc_now
from ..core.errors import Refused
from ..core.sayings import JAPANESE, span
from ..core.sizes import format_bytes, parse_duration
from ..repository.layout import Repository
from ..watch.known import history_of
from ..watch.record import OPERATIONS
from ..watch.trends import size_of
from ..watch.words import operation_name, say
from .configured import add_root

Outcome = tuple[dict[str, Any], list[str]]
_LAST = 20


def add_history(parser: argparse.ArgumentParser) -> None:
    """Options of ``history``."""
    add_root(parser)
    parser.add_argument(
        # A name of its own: "operation" is what the command itself is called.
        "--operation",
        dest="only",
        metavar="NAME",
        help=f"only of: {', '.join(OPERATIONS)}, archive-push, timeline",
    )
    parser.add_argument(
        "--since", metavar="TIME", help="a duration back from now (7d), or a time with its zone"
    )
    parser.add_argument(
        "--last", type=int, metavar="N", help=f"how many at most; {_LAST} where --since is not said"
    )
    parser.set_defaults(on_repository=_there)


def history_command(options: argparse.Namespace, config: ClusterConfig, language: str) -> Outcome:
    """On the cluster's host."""
    return _history(options, config.state_directory, language)


def _there(options: argparse.Namespace, repository: Repository, language: str) -> Outcome:
    return _history(options, repository.path, language)


def _history(options: argparse.Namespace, directory: str, language: str) -> Outcome:
    attempted = "read the history of runs"
    if options.last is not None and options.last < 1:
        raise Refused(
            "count-malformed",
            attempted=attempted,
            happened=f"--last {options.last} is no number of runs",
            remedy="Say how many at most: dbkeeper history --last 20.",
        )
    since = None
    if options.since:
        back = options.since.strip()
        if back[:1].isdigit() and "-" not in back:
            since = utc_now() - timedelta(seconds=parse_duration(back, attempted="understand --since"))
        else:
            since = parse_moment(back, attempted="understand --since")
    last = options.last or (None if since else _LAST)
    known = history_of(directory, operation=options.only, since=since, last=last)
    return {"changed": False, **known}, lines(known, language)


def lines(known: Mapping[str, Any], language: str) -> list[str]:
    """One line for each run, then what is usual."""
    found = [_line(run, language) for run in known["runs"]]
    if not found:
        return [say("history_none", language)]
    for name, trend in known["trends"].items():
        if trend["seconds"]["median"] is None:
            continue
        usual = span(trend["seconds"]["median"]).within(language)
        if trend["bytes"]["median"] is not None:
            usual += f", {format_bytes(trend['bytes']['median'])}"
        newest = [
            say(word, language, factor=f"{trend[part]['factor']:.2f}")
            for part, word in (("seconds", "history_duration"), ("bytes", "history_size"))
            if trend[part]["factor"] is not None
        ]
        found.append(say("history_usual", language, what=name, usual=usual, newest=", ".join(newest)))
    return found


def _line(run: Mapping[str, Any], language: str) -> str:
    who = run.get("who", {})
    parts = [str(run["began_at"])[:19] + "Z"]
    if language == JAPANESE:
        parts += [say(f"result_{run['result']}", language), operation_name(str(run["operation"]), language)]
    else:
        # In the words that --operation takes.
        parts += [f"{run['result']:11}", f"{run['operation']:12}"]
    facts = run.get("facts", {})
    if run.get("seconds") is not None:
        parts.append(span(float(run["seconds"])).within(language))
    size = size_of(run)
    if size:
        parts.append(format_bytes(size))
    parts += [str(facts[name]) for name in ("label", "database", "name", "timeline", "lsn") if name in facts]
    if facts.get("start_lsn") and facts.get("stop_lsn"):
        parts.append(f"{facts['start_lsn']}…{facts['stop_lsn']}")
    parts.append(f"({who.get('user', who.get('door', '?'))}, {who.get('door', '?')})")
    error = run.get("error") or {}
    if run.get("code"):
        parts.append(f"{run['code']}: {' '.join(str(error.get('happened', '')).split())}"[:200])
    return "  ".join(parts)
