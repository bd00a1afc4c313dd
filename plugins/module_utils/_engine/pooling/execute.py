# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Does a plan's steps; what does not come back, or does not say what was wanted, is undone.

The previous files are kept in one durable file until the pooler has proven the new ones: a run that is killed in
between is finished by the next one, which can still go back to what was proven last.
"""

from __future__ import annotations

import base64
import contextlib
import os
import time
from typing import Any

from ..core.errors import Failed, KeeperError
from ..core.files import fsync_directory, make_directory, replacing, write_json
from ..core.locks import locked
from ..core.privilege import as_root, assume, started_as_root
from .console import console
from .plan import Plan, make_plan
from .process import Process, find, log_mark, start, stop, wait_ready, words
from .request import ATTEMPTED, PoolerRequest
from .result import descriptors, result_of
from .settings import OLDEST
from .state import Live, State, Text, gather, journal_path, observe, owner_of_process, previous_files

_DRAIN_SECONDS = 10.0
_POLL_SECONDS = 0.02
_LISTENING_SECONDS = 1.0


def converge(request: PoolerRequest, *, check: bool) -> dict[str, Any]:
    """Bring the pooler into the wanted state and say what was done.

    Raises what :func:`gather` raises, and :class:`Failed`: ``pooler-did-not-start``, ``pooler-differs`` (it
    reads its files, but does not do what they say); both after the previous files are back in effect.
    """
    if check:
        state = gather(request, check=True)
        return result_of(request, state, make_plan(request, state), executed=False)
    directory = os.path.dirname(request.config_file)
    make_directory(directory, 0o755)
    with locked(f"{directory}/.dbkeeper.lock", "configuring the pooler", attempted=ATTEMPTED):
        state = gather(request, check=False)
        plan = make_plan(request, state)
        if plan.steps == ("stop",) and state.live is not None:
            _stop(request, state, state.live.process, drain_seconds=_DRAIN_SECONDS)
        elif plan.steps or state.unfinished:
            _execute(request, state, plan)
    return result_of(request, state, plan, executed=bool(plan.steps))


def _execute(request: PoolerRequest, state: State, plan: Plan) -> None:
    kept = previous_files(request)
    if kept is None:
        kept = {path: state.present[path] for path in state.wanted}
        if "place" in plan.steps:
            _keep(request, kept)
    since = log_mark(request)
    try:
        _make_directories(request, state)
        for path in state.changed_files:
            _write(path, state.wanted[path])
        _bring_into_effect(request, state, plan, since)
        _prove(request, state, plan)
    except KeeperError as error:
        _go_back(request, state, kept, error, since)
        raise
    _forget(request)


def _bring_into_effect(request: PoolerRequest, state: State, plan: Plan, since: int) -> None:
    live = state.live
    if "reload" in plan.steps and live is not None:
        _reload(live.process)
    elif "start" in plan.steps or "restart" in plan.steps:
        if live is not None:
            _stop(request, state, live.process, drain_seconds=_DRAIN_SECONDS)
        _start(request, state)
        wait_ready(request, timeout=request.timeout_seconds, since=since)


def _prove(request: PoolerRequest, state: State, plan: Plan) -> None:
    """What it says must be what the trial said, but for what waits for a restart."""
    process = find(request.config_file)
    if process is None:
        raise _differs("its process has ended meanwhile", {})
    live = observe(request, process, state.trial, state.here)
    wrong = {name: pair for name, pair in {**live.reload, **live.restart}.items() if name not in plan.pending}
    if live.seen is None and plan.pending:
        return
    if wrong:
        text = ", ".join(f"{name} is {before!r}, not {after!r}" for name, (before, after) in wrong.items())
        raise _differs(text, {name: list(pair) for name, pair in wrong.items()})
    waits = {"listen_addr", "listen_port"} & set(plan.pending)
    if request.setting("listen_addr") and not waits and not _listens(request, process):
        raise _differs(f"it does not listen on port {request.port}", {"ports": sorted(process.ports)})


def _listens(request: PoolerRequest, process: Process | None) -> bool:
    """The kernel's list of sockets is read in pieces, and others come and go between them: one look is not enough."""
    deadline = time.monotonic() + _LISTENING_SECONDS
    while process is None or request.port not in process.ports:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
        process = find(request.config_file)
    return True


def _differs(happened: str, details: dict[str, Any]) -> Failed:
    return Failed(
        "pooler-differs",
        attempted="see whether the pooler does what its new files say",
        happened=happened,
        remedy="Read the pooler's log for the reason, correct it, then run the same again.",
        details=details,
    )


def _go_back(
    request: PoolerRequest, state: State, kept: dict[str, Text], error: KeeperError, since: int
) -> None:
    """The files that were proven last, and the pooler with them. What cannot be undone is said."""
    said = words(request, since, complaints_only=True) if error.code == "pooler-differs" else ""
    try:
        for path, text in kept.items():
            _write(path, text)
        process = find(request.config_file)
        if state.live is None or kept[request.config_file].text is None:
            if process is not None:
                _stop(request, state, process, drain_seconds=0)
            back = "the previous files are back, and no pooler runs, as before"
        else:
            _bring_back(request, state, state.live, process)
            back = "the previous files are back in effect"
        _forget(request)
    except KeeperError as second:
        back = f"going back failed as well: {second.happened}"
        error.details["going_back"] = second.to_dict()
    error.happened = f"{error.happened.rstrip('.')}{f' (it says: {said})' if said else ''}; {back}"


def _bring_back(request: PoolerRequest, state: State, live: Live, process: Process | None) -> None:
    if process is not None and process.pid == live.process.pid:
        _reload(process)
        return
    if process is not None:
        _stop(request, state, process, drain_seconds=0)
    _start(request, state)
    deadline = time.monotonic() + request.timeout_seconds
    while not _answers(request):
        if time.monotonic() > deadline:
            raise Failed(
                "pooler-did-not-start",
                attempted="go back to the previous files",
                happened=words(request, 0) or "the pooler does not answer",
                remedy="Start it by hand and read its words.",
            )
        time.sleep(_POLL_SECONDS)


def _answers(request: PoolerRequest) -> bool:
    """The old files may name another place, so the process is asked where it listens."""
    process = find(request.config_file)
    if process is None or not process.sockets:
        return False
    try:
        with console(*process.sockets[0], attempted="go back to the previous files", timeout=3):
            return True
    except KeeperError:
        return False


def _reload(process: Process) -> None:
    if started_as_root():
        assume(owner_of_process(process))
    with console(*process.sockets[0], attempted="have the pooler read its files again") as session:
        session.query("RELOAD")


def _stop(request: PoolerRequest, state: State, process: Process, *, drain_seconds: float) -> None:
    if started_as_root():
        assume(owner_of_process(process))
    stop(request, process, state.version or OLDEST, drain_seconds=drain_seconds)


def _start(request: PoolerRequest, state: State) -> None:
    if state.owner is not None:
        assume(state.owner)
    start(request, descriptors=descriptors(request))


def _make_directories(request: PoolerRequest, state: State) -> None:
    """Where a daemon of its own writes; systemd makes them for a unit."""
    if request.manager == "systemd" or state.owner is None:
        return
    for path in (request.setting("unix_socket_dir"), os.path.dirname(request.log_file)):
        with as_root():
            if not os.path.isdir(path):
                make_directory(path, 0o755)
                os.chown(path, state.owner.uid, state.owner.gid)


def _write(path: str, wanted: Text) -> None:
    with as_root():
        if wanted.text is None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
                fsync_directory(os.path.dirname(path))
            return
        make_directory(os.path.dirname(path), 0o755)
        with replacing(path, wanted.mode) as handle:
            os.fchown(handle.fileno(), wanted.uid, wanted.gid)
            handle.write(wanted.text.encode(errors="surrogateescape"))


def _keep(request: PoolerRequest, files: dict[str, Text]) -> None:
    record = {
        path: {
            "text": None
            if kept.text is None
            else base64.b64encode(kept.text.encode(errors="surrogateescape")).decode(),
            "mode": kept.mode,
            "uid": kept.uid,
            "gid": kept.gid,
        }
        for path, kept in files.items()
    }
    with as_root():
        write_json(journal_path(request), {"format": 1, "files": record}, 0o600)


def _forget(request: PoolerRequest) -> None:
    with as_root(), contextlib.suppress(FileNotFoundError):
        os.unlink(journal_path(request))
        fsync_directory(os.path.dirname(journal_path(request)))
