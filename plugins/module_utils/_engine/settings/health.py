# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Is the configuration what was written, and does the server follow it? What ``dbkeeper check`` says of that.

Files are held against what we wrote, the server against the files, and the files against the server's own
reading of them, so that nobody is surprised by the next reload or the next start.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.instance import Instance
from ..core.check_words import CHECK_WORDS, told
from ..core.errors import KeeperError
from ..core.sayings import Both, both, joined
from .candidate import Fault, find_fault
from .execute import unfinished
from .plan import Overridden, overridden
from .readback import (
    access_faults,
    loaded_at,
    served,
    settings_faults,
    where_it_runs,
)
from .store import digest_of, load
from .tree import read_text, read_tree

OK, WARNING, FAILED = "ok", "warning", "failed"


@dataclass(frozen=True)
class Findings:
    """What was found. ``drifted``, ``missing``, ``unread``: paths of files that somebody changed, took away, or
    changed without a reload. ``answers``: a server could be asked. ``error``: why nothing is known."""

    kept: bool = False
    drifted: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    interrupted: bool = False
    answers: bool = False
    fault: Fault | None = None
    refused: tuple[str, ...] = ()
    pending: Mapping[str, str] = field(default_factory=dict)
    access_refused: tuple[str, ...] = ()
    access_idle: tuple[str, ...] = ()
    overridden: tuple[Overridden, ...] = ()
    command_line: Mapping[str, str] = field(default_factory=dict)
    error: str = ""


def settings_checks(config: ClusterConfig) -> list[dict[str, str]]:
    """The checks ``settings``, ``restart``, ``access`` and ``overrides``, as name, state and text."""
    return judge(look(config))


def look(config: ClusterConfig) -> Findings:
    """Gather; changes nothing. What cannot be asked is told as ``error``."""
    try:
        return _look(config)
    except KeeperError as error:
        return Findings(error=error.happened)


def _look(config: ClusterConfig) -> Findings:
    known = load(config)
    texts = {path: read_text(path) for path in known}
    tree = read_tree(config, {})
    mine = [path for path, entry in known.items() if entry.role == "settings"]
    found: dict[str, Any] = {
        "kept": bool(known),
        "drifted": tuple(
            path for path, text in texts.items() if text is not None and digest_of(text) != known[path].digest
        ),
        "missing": tuple(path for path, text in texts.items() if text is None),
        "interrupted": unfinished(config) is not None,
        "fault": find_fault(config, tree),
        "overridden": overridden(tree, mine),
    }
    if Instance(config).status().ready:
        server = where_it_runs(config)
        refused, idle = access_faults(server)
        said = served(server)
        names = {setting.name for path in mine for setting in tree.of_file(path)}
        found |= {
            "answers": True,
            "refused": tuple(
                f"{fault.path}, line {fault.number}: {fault.text}" for fault in settings_faults(server)
            ),
            "unread": _unread([*tree.files, *texts], loaded_at(server)),
            "pending": said.pending,
            "access_refused": tuple(f"{fault.path}, line {fault.number}: {fault.text}" for fault in refused),
            "access_idle": tuple(f"{fault.path}, line {fault.number}: {fault.text}" for fault in idle),
            "command_line": {name: value for name, value in said.command_line.items() if name in names},
        }
    return Findings(**found)


def _unread(paths: list[str], loaded: str) -> tuple[str, ...]:
    """Files that are younger than the server's last reading of them."""
    moment = float(loaded)
    return tuple(path for path in dict.fromkeys(paths) if _changed(path) > moment)


def _changed(path: str) -> float:
    """When a file was written last; never, where there is none (any more)."""
    try:
        return os.stat(path).st_mtime
    except FileNotFoundError:
        return -math.inf


def judge(found: Findings) -> list[dict[str, str]]:
    """Pure: always the same names in the same order."""
    if found.error:
        return [told(name, WARNING, "unknown_why", why=found.error) for name in _NAMES]
    return [_settings(found), _restart(found), _access(found), _overrides(found)]


_NAMES = ("settings", "restart", "access", "overrides")


def _settings(found: Findings) -> dict[str, str]:
    if found.fault is not None:
        fault = found.fault
        what: Both | str = fault.text
        if fault.path:
            what = both(CHECK_WORDS, "place_fault", path=fault.path, number=fault.number, text=fault.text)
        return told("settings", FAILED, "settings_no_start", what=what)
    if found.interrupted and not (found.refused or found.missing):
        return told("settings", WARNING, "settings_interrupted")
    for state, word, several in (
        (FAILED, "settings_refused", found.refused),
        (FAILED, "settings_gone", found.missing),
        (WARNING, "settings_drifted", found.drifted),
        (WARNING, "settings_unread", found.unread),
    ):
        if several:
            return told(
                "settings", state, word, what=("; " if word == "settings_refused" else ", ").join(several)
            )
    return told("settings", OK, "settings_ok" if found.kept else "settings_foreign")


def _restart(found: Findings) -> dict[str, str]:
    if not found.answers:
        return told("restart", WARNING, "unknown_server")
    if found.pending:
        each = [
            both(CHECK_WORDS, "restart_until", name=name, value=value)
            for name, value in found.pending.items()
        ]
        what = Both(", ".join(one.en for one in each), "、".join(one.ja for one in each))
        return told("restart", WARNING, "restart_needed", what=what)
    return told("restart", OK, "restart_ok")


def _access(found: Findings) -> dict[str, str]:
    if not found.answers:
        return told("access", WARNING, "unknown_server")
    if found.access_refused:
        return told("access", FAILED, "settings_no_start", what="; ".join(found.access_refused))
    if found.access_idle:
        return told("access", WARNING, "access_idle", what="; ".join(found.access_idle))
    return told("access", OK, "access_ok")


def _overrides(found: Findings) -> dict[str, str]:
    said = [both(CHECK_WORDS, "overridden", **item.__dict__) for item in found.overridden]
    said += [
        both(CHECK_WORDS, "overridden_command", name=name, value=value)
        for name, value in found.command_line.items()
    ]
    if said:
        both_said = joined(said)
        return {"name": "overrides", "state": WARNING, "text": both_said.en, "text_ja": both_said.ja}
    return told("overrides", OK, "overrides_ok")
