# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What has to be done so that a cluster's configuration is as wanted; or why it cannot be. Pure."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..core.errors import Refused
from .fleet import AT_LEAST
from .hba import parse_hba
from .ident import parse_ident
from .lockout import Identity, locked_out
from .request import ConfigurationRequest, FileRequest
from .text import parse
from .tree import Tree
from .trial import changed_names

#: Files of ours carry our name; one of ours that overrides another is meant to.
OURS = "dbkeeper"
#: Read at a reload, and yet able to keep the next start, or every connection, from succeeding.
_TRIED = re.compile(r"ssl|session_preload_libraries$|local_preload_libraries$")


@dataclass(frozen=True)
class Change:
    """A file with its text before (None: it was not there) and after."""

    path: str
    role: str
    before: str | None
    after: str
    mode: int


@dataclass(frozen=True)
class Overridden:
    """A setting of ours that has no effect, because somebody says otherwise later."""

    name: str
    wanted: str
    effective: str
    path: str
    number: int

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "name": self.name,
            "wanted": self.wanted,
            "effective": self.effective,
            "file": self.path,
            "line": self.number,
        }


@dataclass(frozen=True)
class State:
    """What is there. ``texts`` and ``modes`` are of the files asked for; ``before`` and ``after`` the whole
    configuration without and with the wish. ``installed``: the server's programs are there. ``made``: so is
    the cluster. ``floor`` are the primary's values, on a standby, and ``held`` what was kept high for them."""

    texts: Mapping[str, str | None]
    modes: Mapping[str, int | None]
    wanted: Mapping[str, str]
    before: Tree
    after: Tree
    system_user: str
    superuser: str
    backup_user: str
    major: int
    running: bool = False
    installed: bool = True
    made: bool = True
    contexts: Mapping[str, str] | None = None
    floor: Mapping[str, int] | None = None
    held: Mapping[str, int] | None = None
    access: Mapping[str, str] | None = None
    access_before: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Plan:
    """Files to place, and what follows from them.

    ``at_restart`` are changed settings that take effect at a start only; ``trial`` says that one has to be
    tried before it may lie where the next start would find it.
    """

    changes: tuple[Change, ...]
    start: bool
    reload: bool
    trial: bool
    at_restart: tuple[str, ...]
    overridden: tuple[Overridden, ...]

    def words(self) -> list[str]:
        """The plan for a person."""
        said = [f"write {change.path}" for change in self.changes]
        return said + ["start"] * self.start + ["reload"] * self.reload


def make_plan(request: ConfigurationRequest, state: State) -> Plan:
    """Raises :class:`Refused`: ``setting-twice``, ``settings-not-included``, ``standby-setting-too-low``,
    ``hba-…`` and ``ident-…`` of the parsers, ``hba-locks-out``."""
    for file in request.files:
        if file.role == "settings":
            _once(file)
    _included(request, state)
    _high_enough(request, state)
    _lets_in(request, state)
    changes = tuple(
        Change(file.path, file.role, state.texts[file.path], state.wanted[file.path], file.mode)
        for file in _last_of_each_path(request)
        if state.texts[file.path] != state.wanted[file.path] or state.modes[file.path] != file.mode
    )
    changed = changed_names(state.before.values(), state.after.values())
    at_restart = tuple(name for name in changed if (state.contexts or {}).get(name) == "postmaster")
    return Plan(
        changes=changes,
        start=request.start and not state.running,
        reload=bool(changes) and state.running,
        trial=state.running and (bool(at_restart) or any(_TRIED.match(name) for name in changed)),
        at_restart=at_restart,
        overridden=overridden(state.after, [file.path for file in request.files if file.role == "settings"]),
    )


def _last_of_each_path(request: ConfigurationRequest) -> list[FileRequest]:
    return list({file.path: file for file in request.files}.values())


def overridden(tree: Tree, paths: list[str]) -> tuple[Overridden, ...]:
    """Settings of our files that a file of somebody else, read later, sets to something else."""
    effective = tree.effective()
    found = []
    for path in paths:
        for setting in tree.of_file(path):
            last = effective[setting.name]
            if OURS not in os.path.basename(last.path) and last.value != setting.value:
                found.append(Overridden(setting.name, setting.value, last.value, last.path, last.number))
    return tuple(found)


def _once(file: FileRequest) -> None:
    seen: dict[str, int] = {}
    for line in parse(file.content)[0]:
        if line.name in seen and not line.includes:
            raise _refused(
                "setting-twice",
                f"{file.path}, line {line.number}: {line.name} is set in line {seen[line.name]} already",
                f"Say {line.name} once. Nothing was changed.",
                name=line.name,
                file=file.path,
                line=line.number,
            )
        seen[line.name] = line.number


def _included(request: ConfigurationRequest, state: State) -> None:
    if not state.after.files:
        return
    for file in request.files:
        if file.role == "settings" and file.path not in state.after.files:
            raise _refused(
                "settings-not-included",
                f"{state.after.main} includes neither {file.path} nor its directory",
                f"Add the line include_dir = '{os.path.dirname(file.path)}' to {state.after.main}.",
                file=file.path,
            )


def _high_enough(request: ConfigurationRequest, state: State) -> None:
    values = state.after.effective()
    least = {name: max(request.at_least.get(name, 0), (state.floor or {}).get(name, 0)) for name in AT_LEAST}
    for name, number in least.items():
        setting = values.get(name)
        if setting is not None and setting.value.isdigit() and int(setting.value) < number:
            raise _refused(
                "standby-setting-too-low",
                f"{setting.path}, line {setting.number}: {name} is {setting.value}, the primary has {number}",
                f"Give the standby {number} or more; to lower it, lower the primary first.",
                name=name,
                file=setting.path,
                line=setting.number,
                least=number,
            )


def _lets_in(request: ConfigurationRequest, state: State) -> None:
    """The rules are understood, the superuser gets in, and so does the keeper if it does now."""
    roles = {file.role: file.path for file in request.files}
    access = state.access or {}
    if "hba" not in roles and "ident" not in roles:
        return
    rules = parse_hba(access["hba"], state.major, path=access["hba_path"])
    mappings = parse_ident(access["ident"], state.major, path=access["ident_path"])
    if not state.made and any(file.block for file in request.files):
        # The rest of the file is still to come.
        return
    superuser = Identity(state.superuser, state.system_user)
    keeper = Identity(state.backup_user, state.system_user, None)
    identities = [superuser, keeper] if _keeper_gets_in(state, keeper) else [superuser]
    reason = locked_out(rules, identities, mappings, state.major)
    if reason:
        raise _refused(
            "hba-locks-out",
            f"{access['hba_path']}: {reason}",
            "Put a line that lets them in above it. Nothing was changed.",
            file=access["hba_path"],
        )


def _keeper_gets_in(state: State, keeper: Identity) -> bool:
    before = state.access_before or {}
    if not before.get("hba"):
        return False
    try:
        rules = parse_hba(before["hba"], state.major)
        mappings = parse_ident(before.get("ident", ""), state.major)
    except Refused:
        # What lies there is not understood by a server either, so nobody gets in by it.
        return False
    # Where nobody has thought of the keeper, he may have got in by a rule for everybody.
    named = any(token.text == keeper.role for rule in rules for token in rule.users)
    return named and locked_out(rules, [keeper], mappings, state.major) is None


def _refused(code: str, happened: str, remedy: str, **details: Any) -> Refused:
    return Refused(
        code,
        attempted="plan the change of the configuration",
        happened=happened,
        remedy=remedy,
        details=details,
    )
