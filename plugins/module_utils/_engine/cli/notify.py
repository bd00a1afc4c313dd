# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""``dbkeeper notify``, and what a scheduled run does at its end: telling those who are named."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..cluster.config import ClusterConfig
from ..cluster.home import repository_named_by
from ..cluster.repository_host import Described
from ..core.errors import KeeperError
from ..repository.layout import Repository
from ..watch.known import all_runs
from ..watch.notify import is_open, retry, standing, summarize, tell_run, trial_of_channels
from ..watch.notify_text import subject_of
from ..watch.record import OPERATIONS, Run, recording
from ..watch.trends import failing_series, shows_little
from ..watch.words import say
from .configured import add_root, required_there

Outcome = tuple[dict[str, Any], list[str]]


def add_notify(parser: argparse.ArgumentParser) -> None:
    """Options of ``notify``."""
    add_root(parser)
    parser.set_defaults(on_repository=_notify_there)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--test", action="store_true", help="send a test by every channel, now")
    what.add_argument(
        "--retry", action="store_true", help="send what could not be delivered and is due again"
    )
    what.add_argument("--summary", action=_Summary, nargs=0, help="send how things stand; once a day")
    parser.add_argument("--again", action="store_true", help="a summary although there was one today")


def notify_command(options: argparse.Namespace, config: ClusterConfig, language: str) -> Outcome:
    """With none of the options: what is open, and what waits."""
    return _notify(
        options, config, language, lambda: options.summary.here(config, repository_named_by(config))
    )


def _notify_there(options: argparse.Namespace, repository: Repository, language: str) -> Outcome:
    host = required_there(options, repository, "who is told")
    return _notify(options, host, language, lambda: options.summary.there(host, repository))


def _notify(
    options: argparse.Namespace, config: Described, language: str, look: Callable[[], dict[str, Any]]
) -> Outcome:
    def ended(one: Mapping[str, Any]) -> str:
        return str(one["error"]["happened"]) if one["error"] else say("sent", language)

    if options.test:
        result = trial_of_channels(config, complain)
        return result, [f"{one['channel']} ({one['type']}): {ended(one)}" for one in result["channels"]]
    if options.retry:
        result = retry(config, complain)
        lines = [
            f"{one['channel']}, {subject_of(one['key'], language)}: {ended(one)}" for one in result["tries"]
        ]
        return result, [*lines, say("sent_waiting", language, count=result["waiting"])]
    if options.summary:
        result = summarize(config, look(), complain, again=options.again)
        if result["changed"]:
            return result, [say("summary_sent", language)]
        return result, [say("summary_before", language, at=result["summary_at"])]
    result = standing(config, complain)
    lines = [
        say("standing_open", language, since=one["since"], what=subject_of(key, language), code=one["code"])
        for key, one in result["problems"].items()
    ]
    for one in result["waiting"]:
        values = {"kind": say(f"kind_{one['kind']}", language), "what": subject_of(one["key"], language)}
        lines.append(say("standing_waits", language, channels=", ".join(one["channels"]), **values))
    return result, lines or [say("standing_none", language)]


class _Look(NamedTuple):
    here: Callable[..., dict[str, Any]]
    there: Callable[..., dict[str, Any]]


class _Summary(argparse.Action):
    """Checking takes much to load, and only a summary needs it: it is loaded where the word is read."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        from ..watch.check import check
        from ..watch.check_there import check_there

        namespace.summary = _Look(check, check_there)


def kept(
    command: Callable[[], Outcome], options: argparse.Namespace, directory: str, config: Described | None
) -> Outcome:
    """Run it, and keep in the history what it did; what only looks is not worth a line.

    A scheduled run tells whom the description names when it fails; any good run tells that what had failed works.
    """
    looks = any(getattr(options, name, False) is True for name in ("check", "dry_run", "list"))
    if options.verb not in OPERATIONS or looks:
        return command()
    scheduled = bool(getattr(options, "scheduled", False))
    run: Run | None = None
    try:
        with recording(
            directory,
            options.verb,
            door="schedule" if scheduled else "command",
            complain=complain,
            scheduled=scheduled,
        ) as run:
            outcome = command()
            run.done(outcome[0])
        return outcome
    finally:
        if run is not None and config is not None and config.notify is not None:
            _tell(options, config, run, scheduled)


def _tell(options: argparse.Namespace, config: Described, run: Run, scheduled: bool) -> None:
    key = run_key(options)
    good = run.line["result"] in ("ok", "unchanged")
    if good and shows_little(run.line) and _failing(config.state_directory, run.line["operation"]):
        return
    if good and (scheduled or is_open(config, key)):
        tell_run(config, key, None, complain)
    elif scheduled and not good:
        tell_run(config, key, {"code": run.line["code"], **run.line.get("error", {})}, complain)


def _failing(directory: str, operation: str) -> bool:
    try:
        return any(one["operation"] == operation for one in failing_series(all_runs(directory)))
    except KeeperError:
        return True


def run_key(options: argparse.Namespace) -> str:
    """``run:backup``, ``run:dump/app``: what fails by itself is told by itself."""
    names = [getattr(options, name, None) for name in ("database", "label")]
    several = getattr(options, "names", None) or []
    about = ",".join(several) or next((name for name in names if isinstance(name, str) and name), "")
    return f"run:{options.verb}" + (f"/{about}" if about and options.verb != "backup" else "")


def complain(text: str) -> None:
    """What must not be lost and is no failure."""
    encoding = sys.stderr.encoding or "utf-8"
    sys.stderr.write(f"dbkeeper: {text}\n".encode(encoding, "backslashreplace").decode(encoding))
    sys.stderr.flush()
