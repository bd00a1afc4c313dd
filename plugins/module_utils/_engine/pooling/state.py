# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What is on this host now, and what the candidate would be; changes nothing."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..core.errors import KeeperError, Refused
from ..core.files import read_json
from ..core.privilege import Owner, as_root, assume, owner_of, started_as_root
from ..core.run import run
from .console import Seen, console, differences, look
from .pools import budgets, check_budgets
from .process import Process, find, owner_named
from .render import MARK, render_config, render_userlist
from .request import ATTEMPTED, PoolerRequest
from .servers import Answers, ask, check_lookups
from .settings import Setting, Version, final_settings, parse_version
from .trial import trial_settings, try_out

_TLS_FILES = ("client_tls_ca_file", "client_tls_cert_file", "server_tls_ca_file", "server_tls_cert_file")
_CONFIG_MODE = 0o640


@dataclass(frozen=True)
class Text:
    """A file: what it holds and who may read it. ``text`` is None when there is no such file."""

    text: str | None
    mode: int = _CONFIG_MODE
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class Live:
    """The pooler that runs, and how it differs from what is wanted: name -> (as it runs, as wanted)."""

    process: Process
    seen: Seen | None
    reload: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    restart: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class State:
    """Everything that a plan is made of.

    ``unfinished``: an earlier run was ended between placing files and proving them. ``ours``: the file on the
    host is one of ours. ``trial`` is None where the candidate could not be tried (check mode on a bare host).
    """

    version: Version | None
    owner: Owner | None
    wanted: Mapping[str, Text]
    present: Mapping[str, Text]
    trial: Seen | None
    here: Mapping[str, str]
    live: Live | None
    answers: Answers
    unfinished: bool
    ours: bool

    @property
    def changed_files(self) -> tuple[str, ...]:
        """Paths whose text or rights are to be changed."""
        return tuple(path for path, text in self.wanted.items() if self.present.get(path) != text)


def journal_path(request: PoolerRequest) -> str:
    """Where the previous files are kept until the new ones are proven."""
    return f"{os.path.dirname(request.config_file)}/.dbkeeper-previous.json"


def gather(request: PoolerRequest, *, check: bool) -> State:
    """Look at everything.

    Raises :class:`Refused`: ``user-missing``, ``program-missing``, ``pooler-version``, ``tls-file-unreadable``,
    ``candidate-refused``, ``lookup-refused``, ``pools-exceed-server``; in check mode what another task may still
    bring (program, user, certificates, lookup) is no refusal.
    """
    if request.state == "stopped":
        return State(None, None, {}, {}, None, {}, _live(request, None, {}), Answers(), False, True)
    bare = check and not os.path.exists(request.program)
    owner = _owner(request, check)
    version = (1, 18) if bare else _version(request)
    if owner is not None:
        assume(owner)
    settings = final_settings(request, version)
    values = {setting.name: setting.value for setting in settings}
    fingerprints = _fingerprints(values, check)
    wanted = _wanted(request, settings, fingerprints, owner)
    answers = ask(request, values) if owner is not None and (fingerprints or not _tls(values)) else Answers()
    if not check:
        check_lookups(answers)
    check_budgets(budgets(request, answers.limits))
    ready = not bare and owner is not None and len(fingerprints) == len(_tls(values))
    texts = [str(text.text) for text in wanted.values()]
    trial = try_out(request, texts[1], texts[0]) if ready else None
    here = _here(request, values, trial)
    present = {path: read_text(path) for path in wanted}
    live = _live(request, trial, here)
    if owner is not None:
        assume(owner)
    return State(
        version=None if bare else version,
        owner=owner,
        wanted=wanted,
        present=present,
        trial=trial,
        here=here,
        live=live,
        answers=answers,
        unfinished=_unfinished(request),
        ours=(present[request.config_file].text or "").startswith(MARK),
    )


def observe(request: PoolerRequest, process: Process, trial: Seen | None, here: Mapping[str, str]) -> Live:
    """Ask a running pooler. One that does not answer is no error here: it differs in everything."""
    if started_as_root():
        # The console lets in who runs it; that may be another user than the one that is wanted.
        assume(owner_of_process(process))
    try:
        if not process.sockets:
            raise Refused(
                "pooler-unreachable", attempted=ATTEMPTED, happened="it has no socket", remedy="Restart it."
            )
        with console(*process.sockets[0], attempted="ask the pooler that runs") as session:
            seen = look(session)
    except KeeperError as error:
        return Live(process, None, {}, {"console": (error.happened, "answers")})
    if trial is None:
        return Live(process, seen)
    reload, restart = differences(seen, trial, here, request.user_settings)
    if started_as_root() and process.user != request.user:
        restart["user"] = (process.user, request.user)
    return Live(process, seen, reload, restart)


def owner_of_process(process: Process) -> Owner:
    """Who runs it."""
    return owner_of(f"/proc/{process.pid}/cwd") if process.user.isdigit() else owner_named(process.user)


def read_text(path: str) -> Text:
    """A file as it is; one that is not there has no text."""
    with as_root():
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as handle:
                status = os.fstat(handle.fileno())
                return Text(handle.read(), status.st_mode & 0o7777, status.st_uid, status.st_gid)
        except FileNotFoundError:
            return Text(None)


def previous_files(request: PoolerRequest) -> dict[str, Text] | None:
    """What an unfinished run had kept; None when there is none."""
    with as_root():
        try:
            record: Any = read_json(journal_path(request), attempted="read what an unfinished run has kept")
        except FileNotFoundError:
            return None
    return {
        path: Text(
            None if item["text"] is None else base64.b64decode(item["text"]).decode(errors="surrogateescape"),
            item["mode"],
            item["uid"],
            item["gid"],
        )
        for path, item in record["files"].items()
    }


def _unfinished(request: PoolerRequest) -> bool:
    with as_root():
        return os.path.exists(journal_path(request))


def _owner(request: PoolerRequest, check: bool) -> Owner | None:
    if not started_as_root():
        return owner_named(request.user)
    try:
        return owner_named(request.user)
    except Refused:
        if not check:
            raise
        return None


def _version(request: PoolerRequest) -> Version:
    if not os.path.exists(request.program):
        raise Refused(
            "program-missing",
            attempted=ATTEMPTED,
            happened=f"there is no {request.program}",
            remedy="Install the package pgbouncer, or correct the option program.",
        )
    said = run([request.program, "--version"], attempted="ask PgBouncer for its version")
    return parse_version(said.out or said.err)


def _wanted(
    request: PoolerRequest, settings: list[Setting], fingerprints: Mapping[str, str], owner: Owner | None
) -> dict[str, Text]:
    """The list of roles first: the other file names it."""
    uid = 0 if started_as_root() else os.getuid()
    gid = owner.gid if owner else 0
    return {
        request.auth_file: Text(render_userlist(request), _CONFIG_MODE, uid, gid),
        request.config_file: Text(render_config(request, settings, fingerprints), _CONFIG_MODE, uid, gid),
    }


def _tls(values: Mapping[str, str]) -> list[str]:
    return [name for name in _TLS_FILES if values.get(name)]


def _fingerprints(values: Mapping[str, str], check: bool) -> dict[str, str]:
    """Digests of certificates as the pooler's user reads them."""
    found = {}
    for name in _tls(values):
        try:
            with open(values[name], "rb") as handle:
                found[name] = hashlib.sha256(handle.read()).hexdigest()
        except OSError as error:
            if check:
                continue
            raise Refused(
                "tls-file-unreadable",
                attempted=ATTEMPTED,
                happened=f"{name}: {values[name]}: {error.strerror}",
                remedy="Make the certificate first, readable for the pooler's user.",
                details={"setting": name, "path": values[name]},
            ) from error
    return found


def _here(request: PoolerRequest, values: Mapping[str, str], trial: Seen | None) -> dict[str, str]:
    """Settings that a trial has with other values, as they are wanted. A mode is printed as a decimal number."""
    here = {"conffile": request.config_file, "auth_file": request.auth_file}
    for name in trial_settings(""):
        if name == "auth_file":
            continue
        value = values.get(name, _DEFAULTS.get(name, ""))
        here[name] = str(int(value, 8)) if name == "unix_socket_mode" else value
    return here


_DEFAULTS = {"unix_socket_mode": "0777", "syslog": "0", "so_reuseport": "0"}


def _live(request: PoolerRequest, trial: Seen | None, here: Mapping[str, str]) -> Live | None:
    process = find(request.config_file)
    return None if process is None else observe(request, process, trial, here)
