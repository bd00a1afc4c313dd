# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Logical dumps: the one door to request, state, plan and execution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..cluster.config import ClusterConfig
from ..core.errors import EXIT_DONE, EXIT_FAILED, KeeperError, Refused
from ..core.journal import Journal
from ..core.locks import locked
from ..core.progress import Progress
from ..repository.layout import Repository
from .dump_elsewhere import RemoteDumpExecution
from .dump_execute import DumpExecution
from .dump_plan import DumpPlan, make_dump_plan
from .dump_request import DumpRequest
from .dump_state import ask_state

__all__ = ["DumpRequest", "described", "take_dump", "take_dumps"]


def take_dump(
    config: ClusterConfig, repository: Repository, request: DumpRequest, *, check: bool = False
) -> dict[str, Any]:
    """Take a dump unless one satisfies the request.

    The result has ``changed``, ``executed``, ``plan`` and ``dump`` (its entry; empty when there is none yet).
    ``check``: the plan only. Raises :class:`Refused` as :func:`.dump_plan.make_dump_plan` does, and ``busy`` when
    another dump or a restore of this cluster is running; :class:`Failed` with the entry saying ``failed``:
    ``dump-failed``, ``dump-lock-timeout``, ``dump-connection-lost``, ``dump-object-gone``, ``dump-not-listed``,
    ``repository-full``, ``repository-not-writable``.
    """
    attempted = f"dump database {request.database} of cluster {config.cluster}"
    if check:
        state = ask_state(config, repository, request.database, request.user)
        return _result(make_dump_plan(request, state), executed=False)
    # For a moment only: a dump that begins during a restore would be of what is about to be put aside.
    with locked(f"{config.state_directory}/restore.lock", "dump", attempted=attempted):
        pass
    # The first question is whether the repository is there at all: its lock lies in it.
    repository.require(attempted)
    with locked(f"{config.state_directory}/dump.lock", "dump", attempted=attempted):
        with locked(repository.lock("dump"), "dump", attempted=attempted):
            return _alone(config, repository, request)


def _alone(config: ClusterConfig, repository: Repository, request: DumpRequest) -> dict[str, Any]:
    state = ask_state(config, repository, request.database, request.user)
    plan = make_dump_plan(request, state)
    if not plan.changes:
        return _result(plan, executed=False)
    journal = Journal.begin(f"{config.state_directory}/dump.journal.json", "dump", plan.key, plan.to_dict())
    progress = Progress(f"{config.state_directory}/progress.json", "dump", identity=plan.key)
    with progress.ending(plan.label):
        kind = RemoteDumpExecution if repository.elsewhere else DumpExecution
        made = kind(request, plan, state, repository, journal, progress).run()
    return {**_result(plan, executed=True), "dump": made.summary(), "warnings": list(made.warnings)}


def described(config: ClusterConfig, names: Sequence[str] = ()) -> list[DumpRequest]:
    """Those of the cluster's description, all or those of these names. Raises :class:`Refused` (``dump-unknown``)."""
    known = {wish.label: wish for wish in config.dumps}
    wrong = [name for name in names if name not in known]
    if wrong or not known:
        raise Refused(
            "dump-unknown",
            attempted=f"take the dumps of cluster {config.cluster}",
            happened=f"none is described as {wrong[0]!r}" if wrong else "its description names no dumps",
            remedy=f"There are: {', '.join(known)}."
            if known
            else "Set dumps in the cluster's description (role backup), or say which: dbkeeper dump --database NAME.",
            details={"known": list(known)},
        )
    return [DumpRequest.from_wish(wish) for label, wish in known.items() if not names or label in names]


def take_dumps(
    config: ClusterConfig, repository: Repository, requests: Sequence[DumpRequest], *, check: bool = False
) -> dict[str, Any]:
    """Take one after the other; one that fails does not keep the others from being taken.

    The result has ``changed``, ``executed``, ``dumps`` (each as of :func:`take_dump`, or with ``error``) and
    ``exit_status`` (3 when one has failed). Raises the error itself where there is one request only.
    """
    if len(requests) == 1:
        done = take_dump(config, repository, requests[0], check=check)
        return {"changed": done["changed"], "executed": done["executed"], "dumps": [done]}
    found: list[dict[str, Any]] = []
    for request in requests:
        named = {"series": request.series_name, "database": request.database}
        try:
            found.append({**named, **take_dump(config, repository, request, check=check)})
        except KeeperError as error:
            found.append({**named, "changed": False, "executed": False, "error": error.to_dict()})
    return {
        "changed": any(one["changed"] for one in found),
        "executed": any(one["executed"] for one in found),
        "dumps": found,
        "exit_status": EXIT_FAILED if any("error" in one for one in found) else EXIT_DONE,
    }


def _result(plan: DumpPlan, *, executed: bool) -> dict[str, Any]:
    return {
        "changed": plan.changes,
        "executed": executed,
        "plan": plan.to_dict(),
        "dump": plan.dump.summary() if plan.dump else {},
    }
