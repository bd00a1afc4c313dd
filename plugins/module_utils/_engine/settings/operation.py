# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The two things that can be asked: configure a cluster, and bring into effect what waits for a restart.

Every door comes through here. Nothing is placed before the server's own program has read it, and before a
throw-away cluster has started with it where a start depends on it.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.instance import Instance
from ..core.errors import Refused
from ..core.journal import Journal
from ..core.locks import locked
from .candidate import find_fault, refusal
from .execute import Execution, recover, unfinished
from .parts import NOTHING, parts_in_effect
from .plan import Plan, State, make_plan, overridden
from .readback import Served, access_faults, served, where_it_runs
from .request import ConfigurationRequest
from .restart import may_restart, refuse_what_cannot_start, restart
from .shown import shown
from .state import gather
from .store import Known, digest_of, load, make_state_directory, save
from .tree import Tree, read_text, read_tree
from .trial import sweep

_PATIENCE_SECONDS = 10.0


def configure(config: ClusterConfig, request: ConfigurationRequest, *, check: bool) -> dict[str, Any]:
    """Make files as wanted, and have the server take them over by reload or (when it is stopped) by a start.

    A server that runs is not restarted: ``pending_restart`` says what waits, and ``changed`` is true when the
    policy would let :func:`bring_into_effect` restart it. Raises :class:`Refused` with nothing changed and
    :class:`Failed` after the old files were put back; see plan.py, candidate.py, restart.py, execute.py.
    """
    with _alone(config, check):
        undone = unfinished(config) is not None if check else _recover(config)
        state = gather(config, request)
        plan = make_plan(request, state)
        _proven_before_placed(config, state, plan)
        if check:
            return _predicted(config, request, state, plan, undone)
        known = load(config)
        if plan.changes or plan.start:
            execution = Execution(config, plan, timeout=request.timeout_seconds, fall_back=bool(known))
            execution.run(state.before.values(), state.after.values())
        return _done(config, request, state, plan, known, undone)


def bring_into_effect(config: ClusterConfig, request: ConfigurationRequest, *, check: bool) -> dict[str, Any]:
    """Restart the server if settings wait for that and the policy allows it; start it when it is stopped.

    Raises :class:`Refused` (``setting-prevents-start``) with the server untouched, and :class:`Failed`
    (``server-did-not-start``) with the old files back.
    """
    with _alone(config, check):
        undone = unfinished(config) is not None if check else _recover(config)
        state = gather(config, dataclasses.replace(request, files=()))
        known = load(config)
        before = read_tree(config, _proven(known)).values()
        after = state.after.values()
        server = _served(config, state)
        act = "start" if not state.running and request.start else ""
        if state.running and server.pending and may_restart(request.restart, server.clients):
            act = "restart"
        if act and state.installed:
            refuse_what_cannot_start(config, before, after, running=state.running)
        if act and not check:
            if act == "restart":
                restart(config, known, before, after, timeout=request.timeout_seconds)
            else:
                Instance(config).start(timeout=request.timeout_seconds)
            server = dataclasses.replace(
                _served(config, dataclasses.replace(state, running=True)), clients=server.clients
            )
            save(config, _remember(known, [], server.pending, state.after))
        return _result(
            config,
            plan=([act] if act else []) + (["undo an interrupted change"] if undone else []),
            check=check,
            server=server,
            state=state,
            found=[item.to_dict() for item in overridden(state.after, list(known))],
            request=request,
        )


@contextlib.contextmanager
def _alone(config: ClusterConfig, check: bool) -> Iterator[None]:
    """No second change, and no restore that swaps the data directory meanwhile. Looking needs no lock."""
    if check:
        yield
        return
    attempted = f"configure cluster {config.cluster}"
    make_state_directory(config)
    with contextlib.ExitStack() as held:
        for name in ("configuration", "restore"):
            path = f"{config.state_directory}/{name}.lock"
            held.enter_context(locked(path, "configuration", attempted=attempted, patience=_PATIENCE_SECONDS))
        _no_restore_half_done(config, attempted)
        yield


def _no_restore_half_done(config: ClusterConfig, attempted: str) -> None:
    journal = Journal.load(f"{config.state_directory}/restore.journal.json", attempted=attempted)
    if journal is not None and journal.state == "running":
        raise Refused(
            "restore-unfinished",
            attempted=attempted,
            happened=f"a restore of cluster {config.cluster} was interrupted and is half done",
            remedy="Finish it by running it again, or take it back: dbkeeper undo. Nothing was changed.",
        )


def _recover(config: ClusterConfig) -> bool:
    sweep()
    return recover(config)


def _proven_before_placed(config: ClusterConfig, state: State, plan: Plan) -> None:
    """What the server's own programs say of the candidate, before it lies where the server would find it."""
    if not state.installed or not plan.changes:
        return
    fault = find_fault(config, state.after)
    if fault is not None:
        raise refusal(config, fault)
    if plan.trial:
        refuse_what_cannot_start(config, state.before.values(), state.after.values(), running=True)


def _predicted(
    config: ClusterConfig, request: ConfigurationRequest, state: State, plan: Plan, undone: bool
) -> dict[str, Any]:
    server = _served(config, state)
    if state.running:
        values = state.before.values()
        foreseen = {name: values.get(name, "") for name in plan.at_restart}
        server = dataclasses.replace(server, pending={**foreseen, **server.pending})
    return _result(
        config,
        plan=plan.words() + (["undo an interrupted change"] if undone else []),
        check=True,
        server=server,
        state=state,
        found=[item.to_dict() for item in plan.overridden],
        request=request,
        diff=_diff(plan),
    )


def _done(
    config: ClusterConfig,
    request: ConfigurationRequest,
    state: State,
    plan: Plan,
    known: Mapping[str, Known],
    undone: bool,
) -> dict[str, Any]:
    runs = state.running or plan.start
    server = _served(config, dataclasses.replace(state, running=runs))
    if runs:
        save(config, _remember(known, _entries(request, state, known), server.pending, state.after))
    return _result(
        config,
        plan=plan.words() + (["undo an interrupted change"] if undone else []),
        check=False,
        server=server,
        state=dataclasses.replace(state, running=runs),
        found=[item.to_dict() for item in plan.overridden] + _command_line(request, state, server),
        request=request,
        diff=_diff(plan),
        harmless=_harmless(config) if plan.changes and runs else [],
    )


def _entries(
    request: ConfigurationRequest, state: State, known: Mapping[str, Known]
) -> list[tuple[str, Known]]:
    """The files of the request as they are now; what a running server ran with before is proven."""
    found = []
    for file in request.files:
        earlier = known.get(file.path)
        proven = earlier.proven if earlier else None
        if proven is None and state.running:
            proven = state.texts[file.path] or ""
        text = state.wanted[file.path]
        found.append((file.path, Known(file.role, digest_of(text), proven, file.mode)))
    return found


def _remember(
    known: Mapping[str, Known], entries: list[tuple[str, Known]], waiting: Mapping[str, str], tree: Tree
) -> dict[str, Known]:
    """What is known now: a file is proven when nothing that it sets waits for a restart."""
    updated = {**known, **dict(entries)}
    for path, entry in updated.items():
        if entry.role == "settings" and waiting:
            names = {setting.name for setting in tree.of_file(path)}
            # A setting that was taken out waits too, and nobody can say from which file.
            if names & set(waiting) or not set(waiting) <= set(tree.values()):
                continue
        text = read_text(path)
        if text is not None and digest_of(text) == entry.digest:
            updated[path] = dataclasses.replace(entry, proven=text)
    return updated


def _proven(known: Mapping[str, Known]) -> dict[str, str]:
    return {path: entry.proven for path, entry in known.items() if entry.proven is not None}


def _served(config: ClusterConfig, state: State) -> Served:
    if not state.running or not Instance(config).status().ready:
        return Served()
    return served(where_it_runs(config))


def _command_line(request: ConfigurationRequest, state: State, server: Served) -> list[dict[str, Any]]:
    """Settings of ours that the command line of the server decides."""
    mine = {
        setting.name: setting.value
        for file in request.files
        if file.role == "settings"
        for setting in state.after.of_file(file.path)
    }
    return [
        {"name": name, "wanted": mine[name], "effective": value, "file": "command line", "line": 0}
        for name, value in sorted(server.command_line.items())
        if name in mine and mine[name] != value
    ]


def _harmless(config: ClusterConfig) -> list[str]:
    _faults, harmless = access_faults(where_it_runs(config))
    return [f"{fault.path}, line {fault.number}: {fault.text}" for fault in harmless]


def _diff(plan: Plan) -> list[dict[str, str]]:
    return [
        {
            "before_header": change.path,
            "after_header": change.path,
            "before": shown(change.before or "", change.role),
            "after": shown(change.after, change.role),
        }
        for change in plan.changes
    ]


def _result(
    config: ClusterConfig,
    *,
    plan: list[str],
    check: bool,
    server: Served,
    state: State,
    found: list[dict[str, Any]],
    request: ConfigurationRequest,
    diff: list[dict[str, str]] | None = None,
    harmless: list[str] | None = None,
) -> dict[str, Any]:
    values = state.after.values()
    pending = [
        {"name": name, "running": running, "wanted": values.get(name)}
        for name, running in server.pending.items()
    ]
    restarting = bool(pending) and "restart" not in plan and may_restart(request.restart, server.clients)
    return {
        "changed": bool(plan) or restarting,
        "executed": bool(plan) and not check,
        "plan": plan,
        "running": state.running or any(word in plan for word in ("start", "restart")),
        "pending_restart": pending,
        "restart_allowed": restarting,
        "overridden": found,
        "held": dict(state.held or {}),
        "in_effect": parts_in_effect(config, server) if state.running and not server.pending else NOTHING,
        "warnings": _warnings(config, pending, restarting, found) + _held(config, state) + (harmless or []),
        "diff": diff or [],
    }


def _held(config: ClusterConfig, state: State) -> list[str]:
    names = ", ".join(f"{name} ({number})" for name, number in sorted((state.held or {}).items()))
    return [f"{config.cluster}: kept as high as the primary has it: {names}"] if names else []


def _warnings(
    config: ClusterConfig, pending: list[dict[str, Any]], restarting: bool, found: list[dict[str, Any]]
) -> list[str]:
    said = []
    if pending and not restarting:
        names = ", ".join(f"{item['name']} ({item['running']} until then)" for item in pending)
        said.append(f"{config.cluster}: a restart is needed for {names}")
    for item in found:
        place = item["file"] if not item["line"] else f"{item['file']}, line {item['line']}"
        advice = "ALTER SYSTEM RESET takes it out" if item["file"].endswith("postgresql.auto.conf") else ""
        said.append(
            f"{config.cluster}: {item['name']} is {item['effective']} and not {item['wanted']}, "
            f"because of {place}{'; ' if advice else ''}{advice}"
        )
    return said
