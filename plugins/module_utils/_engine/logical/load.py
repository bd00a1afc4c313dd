# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Loading a dump: where it begins and ends, for both doors; and the way back from a replaced database."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.instance import Instance
from ..cluster.target import locale_known
from ..core.clock import utc_now
from ..core.errors import KeeperError, Refused
from ..core.files import make_directory
from ..core.journal import Journal
from ..core.locks import locked
from ..core.progress import Progress
from ..repository.dumps import Dump
from ..repository.layout import Repository
from . import swap
from .at_hand import at_hand
from .load_again import identity_of, recorded
from .load_execute import CLOSE, OPEN, SWAP, UNDO, LoadExecution, go_back, limit_of
from .load_plan import LoadPlan, make_plan, name_after
from .load_request import LoadRequest
from .load_state import DatabaseState, LoadState, ask_server, ask_state, choose_dump
from .rows import NONE
from .shelf import Soundness, leased

__all__ = ["LoadRequest", "contents", "load", "undo_load"]


def load(
    config: ClusterConfig, repository: Repository, request: LoadRequest, *, check: bool = False
) -> dict[str, Any]:
    """Load a dump unless its record says that it is loaded. ``check``: the plan only.

    The result has ``changed``, ``executed``, ``plan``, ``dump`` and ``load`` (rows, roles made, accepted errors, kept
    name, connections ended). Raises :class:`Refused`: what :func:`~.load_state.ask_state` and
    :func:`~.load_plan.make_plan` raise, ``busy``; :class:`Failed`: ``dump-file-missing``, ``dump-file-damaged``,
    ``load-failed``, ``load-rows-differ``, ``database-in-use``.
    """
    attempted = f"load dump {request.dump} into cluster {config.cluster}"
    if check and not repository.elsewhere:
        state = ask_state(config, repository, request)
        return _result(_plan(request, state), state, {}, executed=False)
    make_directory(config.state_directory)
    with locked(f"{config.state_directory}/restore.lock", "load", attempted=attempted):
        pass
    with locked(f"{config.state_directory}/load.lock", "load", attempted=attempted):
        if not repository.elsewhere:
            return _load(config, repository, request, attempted)
        dump = choose_dump(repository, request, attempted)
        found = _loaded_already(config, request, dump)
        if found is not None:
            return found
        with at_hand(config, repository, dump) as here:
            request = replace(request, dump=dump.key, database=dump.database)
            if check:
                state = ask_state(config, here, request)
                return _result(_plan(request, state), state, {}, executed=False)
            return _load(config, here, request, attempted)


def _load(
    config: ClusterConfig, repository: Repository, request: LoadRequest, attempted: str
) -> dict[str, Any]:
    """From a repository on this host, alone."""
    journal = _unfinished(config, attempted)
    state = ask_state(config, repository, request)
    plan = _plan(request, state)
    if journal is not None and (plan.action != "beside" or journal.identity != plan.identity):
        go_back(config, journal)
        journal = None
        state = ask_state(config, repository, request)
        plan = _plan(request, state)
    if plan.action == "none":
        return _result(plan, state, {}, executed=False)
    progress = Progress(f"{config.state_directory}/progress.json", "load", identity=plan.target)
    try:
        with leased(repository, state.dump, "load"):
            # What goes into a database of our own may be found unsound as long as nobody sees it.
            meanwhile = plan.action == "beside" and state.contents is not None
            with Soundness(repository, state.dump, meanwhile=meanwhile) as files:
                facts = _execute(config, request, state, plan, progress, journal, files)
    except BaseException as error:
        progress.finish("failed", error.code if isinstance(error, KeeperError) else "interrupted")
        raise
    progress.finish("done")
    return {**_result(plan, state, facts, executed=True), "seconds": progress.seconds()}


def _loaded_already(config: ClusterConfig, request: LoadRequest, dump: Dump) -> dict[str, Any] | None:
    """The result of a load that is recorded, so that no dump is fetched for it."""
    target = request.target or dump.database
    status = Instance(config).status()
    if request.again or not (status.running and status.ready) or _unfinished(config, "load a dump"):
        return None
    identity = identity_of(request, dump, target)
    found = recorded(ask_server(config, target)[0].get(target), identity)
    if found is None:
        return None
    plan: dict[str, Any] = {"action": "none", "reason": f"it was loaded from this dump at {found.get('at')}"}
    plan |= {"identity": identity, "dump": dump.key, "target": target, "kept": None, "entries": 0}
    return {
        "changed": False,
        "executed": False,
        "plan": {**plan, "tables": [], "proof": NONE, "steps": []},
        "dump": {"key": dump.key, "database": dump.database, "label": dump.label},
        "load": {},
        "warnings": [],
    }


def contents(config: ClusterConfig, repository: Repository, request: LoadRequest) -> dict[str, Any]:
    """What a load would take from the dump, entry by entry, as ``exclude`` sees them. Raises as :func:`load`."""
    if repository.elsewhere:
        attempted = f"list dump {request.dump}"
        make_directory(config.state_directory)
        with locked(f"{config.state_directory}/load.lock", "load --list", attempted=attempted):
            dump = choose_dump(repository, request, attempted)
            with at_hand(config, repository, dump) as here:
                return contents(config, here, replace(request, dump=dump.key, database=dump.database))
    state = ask_state(config, repository, request)
    entries = (
        state.contents.choose(request.schemas, request.tables, request.exclude) if state.contents else []
    )
    return {
        "changed": False,
        "executed": False,
        "dump": state.dump.key,
        "entries": [{"entry": one.words, "owner": one.owner} for one in entries],
    }


def undo_load(
    config: ClusterConfig, target: str | None, *, confirm: str | None, check: bool = False
) -> dict[str, Any]:
    """Give a replaced database its name back; what was loaded is kept under another one. A half-done load is abandoned,
    a half-done undo finished or begun anew, and one that is done is not done again.

    Raises :class:`Refused`: ``nothing-to-undo``, ``load-not-confirmed``, ``prepared-transactions``, ``busy``.
    """
    attempted = "undo a load"
    make_directory(config.state_directory)
    with locked(f"{config.state_directory}/load.lock", "load --undo", attempted=attempted):
        journal = _unfinished(config, attempted)
        if journal is not None and target in (None, journal.data["target"]):
            found = _half_done(config, journal, confirm=confirm, check=check)
            if found is not None:
                return found
        name = target or _last_target(config)
        databases, facts = ask_server(config, name or "")
        old = _replaced(databases, name)
        if old is None and (done := _undone(config, name)) is not None:
            return {"changed": False, "executed": False, "plan": done}
        if name is None or old is None:
            raise Refused(
                "nothing-to-undo",
                attempted=attempted,
                happened=f"database {name!r} did not take another one's place, or that one is gone"
                if name
                else "no load has replaced a database here",
                remedy="Name the database that was loaded: dbkeeper load --undo --into NAME --confirm NAME.",
            )
        aside = name_after(name, "undone", utc_now())
        plan = {"action": "undo", "target": name, "kept": old, "put_aside": aside}
        if check:
            return {"changed": True, "executed": False, "plan": plan}
        _may_undo(name, confirm, int(facts["prepared"]), attempted)
        limit, back = databases[name].limit, databases[old].limit
        data = {"target": name, "temporary": old, "kept": aside, "limit": back}
        journal = Journal.begin(f"{config.state_directory}/load.journal.json", UNDO, old, data)
        progress = Progress(f"{config.state_directory}/progress.json", "load --undo", identity=name)

        def change_places() -> None:
            for one in (name, old):
                swap.drain(config, one, seconds=10, progress=progress)
            swap.swap(config, old, name, aside)

        try:
            journal.step(CLOSE, lambda: _close(config, name, old))
            journal.step(SWAP, change_places)
            journal.step(OPEN, lambda: _open(config, name, aside, back, limit))
        except KeeperError:
            swap.open_to(config, name)
            swap.open_to(config, old)
            journal.finish("undone")
            progress.finish("failed")
            raise
        journal.finish("done")
        progress.finish("done")
        return {"changed": True, "executed": True, "plan": plan}


def _half_done(
    config: ClusterConfig, journal: Journal, *, confirm: str | None, check: bool
) -> dict[str, Any] | None:
    """End what was killed; the result, or None where there is something to undo still.

    A load that had swapped already is finished, and undone where that is confirmed.
    """
    data, undo = journal.data, journal.record["operation"] == UNDO
    plan = {"action": "abandon", "target": data["target"], "kept": None, "put_aside": None}
    if undo:
        plan = {**plan, "action": "undo", "kept": data["temporary"], "put_aside": data["kept"]}
    if not check:
        go_back(config, journal)
        if undo and journal.state != "done":
            return None
        if not undo and journal.state == "done":
            if confirm == data["target"]:
                return None
            plan["action"] = "finish"
    return {"changed": True, "executed": not check, "plan": plan}


def _undone(config: ClusterConfig, name: str | None) -> dict[str, Any] | None:
    """The last thing that was done here was to undo that load; None: it was not."""
    journal = Journal.load(f"{config.state_directory}/load.journal.json", attempted="undo a load")
    if journal is None or journal.record["operation"] != UNDO or journal.state != "done":
        return None
    data = journal.data
    if data["target"] != name:
        return None
    return {"action": "none", "target": name, "kept": data["temporary"], "put_aside": data["kept"]}


def _plan(request: LoadRequest, state: LoadState) -> LoadPlan:
    return make_plan(request, state, now=utc_now(), locales=locale_known)


def _execute(
    config: ClusterConfig,
    request: LoadRequest,
    state: LoadState,
    plan: LoadPlan,
    progress: Progress,
    journal: Journal | None,
    files: Soundness,
) -> dict[str, Any]:
    if plan.action == "into":
        execution = LoadExecution(config, request, state, plan, progress, files)
        execution.into()
        return execution.facts
    if journal is not None:
        plan = plan.named(str(journal.data["kept"]) if journal.data["kept"] else None)
    else:
        data = {
            "target": plan.target,
            "temporary": plan.temporary,
            "kept": plan.kept,
            "limit": state.existing.limit if state.existing else limit_of(plan.properties),
        }
        path = f"{config.state_directory}/load.journal.json"
        journal = Journal.begin(path, "load", plan.identity, data)
    execution = LoadExecution(config, request, state, plan, progress, files)
    execution.beside(journal)
    return {**execution.facts, "kept": plan.kept}


def _unfinished(config: ClusterConfig, attempted: str) -> Journal | None:
    journal = Journal.load(f"{config.state_directory}/load.journal.json", attempted=attempted)
    return journal if journal is not None and journal.state == "running" else None


def _last_target(config: ClusterConfig) -> str | None:
    journal = Journal.load(f"{config.state_directory}/load.journal.json", attempted="undo a load")
    return str(journal.data["target"]) if journal else None


def _replaced(databases: dict[str, DatabaseState], name: str | None) -> str | None:
    there = databases.get(name or "")
    for one in reversed(there.loads if there else ()):
        kept = one.get("replaced")
        if isinstance(kept, str) and kept in databases:
            return kept
    return None


def _may_undo(name: str, confirm: str | None, prepared: int, attempted: str) -> None:
    if confirm != name:
        raise Refused(
            "load-not-confirmed",
            attempted=attempted,
            happened=f"database {name!r} would get back its old content; what was written since is kept aside",
            remedy="Repeat with the name of the database as confirmation (--confirm), if that is meant.",
        )
    if prepared:
        raise Refused(
            "prepared-transactions",
            attempted=attempted,
            happened=f"{prepared} prepared transactions in database {name!r} keep it from being renamed",
            remedy="COMMIT PREPARED or ROLLBACK PREPARED them: SELECT gid FROM pg_prepared_xacts.",
        )


def _close(config: ClusterConfig, *names: str) -> None:
    for name in names:
        swap.close(config, name)


def _open(config: ClusterConfig, name: str, aside: str, limit: int, aside_limit: int) -> None:
    swap.open_to(config, name, limit=limit)
    swap.open_to(config, aside, limit=aside_limit)


def _result(plan: LoadPlan, state: LoadState, facts: dict[str, Any], *, executed: bool) -> dict[str, Any]:
    return {
        "changed": plan.action != "none",
        "executed": executed,
        "plan": plan.to_dict(),
        "dump": {"key": state.dump.key, "database": state.dump.database, "label": state.dump.label},
        "load": facts,
        "warnings": list(plan.warnings),
    }
