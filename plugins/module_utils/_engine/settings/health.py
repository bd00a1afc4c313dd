# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Is the configuration what was written, and does the server follow it? What ``dbkeeper check`` says of that.

Files are held against what we wrote, the server against the files, and the files against the server's own
reading of them, so that nobody is surprised by the next reload or the next start.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.instance import Instance
from ..core.errors import KeeperError
from .candidate import Fault, find_fault
from .execute import unfinished
from .plan import Overridden, overridden
from .readback import (
    access_faults,
    loaded_at,
    on_command_line,
    pending_restart,
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
        names = {setting.name for path in mine for setting in tree.of_file(path)}
        found |= {
            "answers": True,
            "refused": tuple(
                f"{fault.path}, line {fault.number}: {fault.text}" for fault in settings_faults(server)
            ),
            "unread": _unread([*tree.files, *texts], loaded_at(server)),
            "pending": pending_restart(server),
            "access_refused": tuple(f"{fault.path}, line {fault.number}: {fault.text}" for fault in refused),
            "access_idle": tuple(f"{fault.path}, line {fault.number}: {fault.text}" for fault in idle),
            "command_line": {name: value for name, value in on_command_line(server).items() if name in names},
        }
    return Findings(**found)


def _unread(paths: list[str], loaded: str) -> tuple[str, ...]:
    """Files that are younger than the server's last reading of them."""
    moment = float(loaded)
    return tuple(path for path in dict.fromkeys(paths) if os.path.exists(path) and _changed(path) > moment)


def _changed(path: str) -> float:
    return os.stat(path).st_mtime


def judge(found: Findings) -> list[dict[str, str]]:
    """Pure: always the same names in the same order."""
    if found.error:
        return [_check(name, WARNING, f"not known: {found.error}") for name in _NAMES]
    return [_settings(found), _restart(found), _access(found), _overrides(found)]


_NAMES = ("settings", "restart", "access", "overrides")


def _check(name: str, state: str, text: str) -> dict[str, str]:
    return {"name": name, "state": state, "text": text}


def _settings(found: Findings) -> dict[str, str]:
    if found.fault is not None:
        where = f"{found.fault.path}, line {found.fault.number}: " if found.fault.path else ""
        return _check("settings", FAILED, f"the server would not start again: {where}{found.fault.text}")
    if found.refused:
        return _check("settings", FAILED, f"the server will not take over {'; '.join(found.refused)}")
    if found.missing:
        return _check("settings", FAILED, f"gone: {', '.join(found.missing)}; run the role again")
    if found.interrupted:
        return _check(
            "settings", WARNING, "a change was interrupted: run the role again, which undoes or ends it"
        )
    if found.drifted:
        text = f"changed by somebody else: {', '.join(found.drifted)}; put it into the inventory, or run the role again"
        return _check("settings", WARNING, text)
    if found.unread:
        text = f"changed since the server has read it: {', '.join(found.unread)}; see what a reload would do"
        return _check("settings", WARNING, text)
    if not found.kept:
        return _check("settings", OK, "the server's program reads them; none of them are kept by dbkeeper")
    return _check("settings", OK, "as they were written, and as the server has read them")


def _restart(found: Findings) -> dict[str, str]:
    if not found.answers:
        return _check("restart", WARNING, "not known, as no server answers")
    if found.pending:
        names = ", ".join(f"{name} ({value} until then)" for name, value in found.pending.items())
        return _check("restart", WARNING, f"a restart is needed for {names}")
    return _check("restart", OK, "nothing waits for a restart")


def _access(found: Findings) -> dict[str, str]:
    if not found.answers:
        return _check("access", WARNING, "not known, as no server answers")
    if found.access_refused:
        text = f"the server would not start again: {'; '.join(found.access_refused)}"
        return _check("access", FAILED, text)
    if found.access_idle:
        return _check("access", WARNING, f"without effect: {'; '.join(found.access_idle)}")
    return _check("access", OK, "every rule of pg_hba.conf and pg_ident.conf is understood")


def _overrides(found: Findings) -> dict[str, str]:
    said = [
        f"{item.name} is {item.effective} and not {item.wanted}, because of {item.path}, line {item.number}"
        for item in found.overridden
    ]
    said += [
        f"{name} is {value}, as the server's command line says" for name, value in found.command_line.items()
    ]
    if said:
        return _check("overrides", WARNING, "; ".join(said))
    return _check("overrides", OK, "no setting of ours is overridden")
