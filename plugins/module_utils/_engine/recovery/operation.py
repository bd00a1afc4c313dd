# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The three things a person can ask: plan, restore, undo. Every door comes through here."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.home import repository_named_by
from ..cluster.instance import Instance
from ..core.clock import format_utc, label_time, utc_now
from ..core.errors import KeeperError, Refused
from ..core.journal import Journal
from ..core.locks import locked
from ..core.progress import Progress
from ..repository.engine import NativeEngine
from ..repository.layout import Repository
from ..repository.leases import release_lease
from ..repository.place import is_elsewhere
from . import staging, steps
from .execute import Execution, journal_path
from .give_up import give_up
from .plan import RestorePlan
from .proving import plan_after_archiving, plan_restore, stop_and_archive
from .request import RestoreRequest
from .state import live_cluster
from .swap import move


def show_plan(config: ClusterConfig, request: RestoreRequest, *, source: str | None = None) -> dict[str, Any]:
    """The plan and whether a restore would change anything; nothing is touched.

    ``source``: a repository to restore from that is not the cluster's own, such as a copy that was brought back.
    """
    config = _from(config, source)
    repository = _repository(config)
    journal = _journal(config)
    if journal is not None and journal.state == "running":
        plan = _unfinished(journal, request, config)
        return _result(plan, changed=True, executed=False, resumes=True)
    done = _already(journal, request, config)
    if done is not None:
        return _result(done, changed=False, executed=False)
    return _result(plan_restore(config, repository, request), changed=True, executed=False)


def restore(
    config: ClusterConfig, request: RestoreRequest, *, confirm: str | None, source: str | None = None
) -> dict[str, Any]:
    """Plan and execute, or finish what a killed run began; no change when it has been done already.

    ``source``: as for :func:`show_plan`. The restored cluster archives to its own repository all the same.

    Raises :class:`Refused` before anything is touched, :class:`Failed` with the state on the way.
    """
    _confirmed(config, confirm, "restore")
    asked_at = format_utc(utc_now())
    home, journal = config, _journal(config)
    if journal is not None and journal.state == "running":
        # Half-done, it goes on from where it began.
        source = journal.data.get("source")
    config = _from(config, source)
    repository = _repository(config)
    if config is not home:
        _repository(home)
    with locked(
        f"{config.state_directory}/restore.lock", "restore", attempted=f"restore cluster {config.cluster}"
    ):
        journal = _journal(config)
        if journal is not None and journal.state == "running":
            plan = _unfinished(journal, request, config)
            return _execute(plan, config, repository, journal, home, resumes=True)
        done = _already(journal, request, config)
        if done is not None and journal is not None:
            return {**_result(done, changed=False, executed=False), "evidence": journal.data.get("evidence")}
        plan, facts = _plan_for_execution(config, repository, request)
        data = {"plan": plan.to_dict(), "request_identity": request.identity, "source": source}
        data |= {"asked_at": asked_at, **facts}
        journal = Journal.begin(journal_path(config), "restore", plan.id, data)
        return _execute(plan, config, repository, journal, home, resumes=False)


def _from(config: ClusterConfig, source: str | None) -> ClusterConfig:
    """The description with another repository to restore from."""
    if source is None or source == config.repository:
        return config
    return replace(config, repository=source, ssh=config.ssh if is_elsewhere(source) else None)


def undo(config: ClusterConfig, *, confirm: str | None, check: bool = False) -> dict[str, Any]:
    """Take a restore back: the old data directory returns, the restored one goes aside; or abandon a half-done one."""
    if not check:
        _confirmed(config, confirm, "undo a restore of")
    with locked(
        f"{config.state_directory}/restore.lock", "undo", attempted=f"undo the restore of {config.cluster}"
    ):
        journal = _journal(config)
        if journal is None:
            raise Refused(
                "nothing-to-undo",
                attempted=f"undo the restore of cluster {config.cluster}",
                happened="no restore of this cluster is on record",
                remedy="Directories ending in .before-… beside the data directory are what earlier restores kept.",
            )
        plan = RestorePlan.from_dict(journal.data["plan"])
        replaced = bool(plan.live["exists"])
        swapped = (_kept(plan) if replaced else _placed(plan, journal)) or journal.status(
            steps.UNDO_PUT_ASIDE
        ) is not None
        aside = journal.data.get("undone_directory") or (
            f"{plan.data_directory}.undone-{label_time(utc_now())}-{plan.id}" if swapped else None
        )
        result = {
            "changed": journal.state != "undone",
            "executed": False,
            "given_up": journal.data.get("given_up"),
            "plan": {
                "id": plan.id,
                "put_back": plan.kept_directory if swapped and replaced else None,
                "put_aside": aside,
                "remove": None if journal.is_done(steps.CLEAN_UP) else plan.work_directory,
            },
        }
        if journal.state == "undone" or check:
            return result
        if not swapped and journal.is_done(steps.PLACE_NEW):
            gone = plan.kept_directory if replaced else plan.data_directory
            raise Refused(
                "kept-directory-missing",
                attempted=f"undo the restore of cluster {config.cluster}",
                happened=f"{gone} is gone: somebody removed it",
                remedy="Restore to another target instead; dbkeeper info shows what can be reached.",
            )
        journal.record["state"] = "running"
        journal.note(undone_directory=aside)
        _undo_steps(plan, config, journal, aside if swapped else None)
        return {**result, "executed": True, "given_up": journal.data.get("given_up")}


def _undo_steps(plan: RestorePlan, config: ClusterConfig, journal: Journal, aside: str | None) -> None:
    instance = Instance(config)

    def stop() -> None:
        if aside and instance.status().running:
            instance.stop()

    def start() -> None:
        # Nothing was here before, or nothing that starts: then nothing is started.
        if not instance.status().running and os.path.isfile(f"{config.data_directory}/PG_VERSION"):
            instance.start()

    def clean_up() -> None:
        staging.discard(plan, keep_tablespaces=aside is not None)
        release_lease(_repository(_from(config, journal.data.get("source"))), plan.id)

    if not journal.is_done(steps.UNDO_PUT_ASIDE):
        # Stopped by a run that was killed: somebody else, or the boot of the host, may have started it since.
        journal.reset(steps.UNDO_STOP)
    journal.step(steps.UNDO_STOP, stop)
    journal.step(steps.UNDO_PUT_ASIDE, lambda: _put_aside(plan, aside))
    journal.step(
        steps.UNDO_PUT_BACK, lambda: move(plan.kept_directory, plan.data_directory) if aside else None
    )
    journal.step(steps.UNDO_START, start)
    journal.step(steps.UNDO_CLEAN_UP, clean_up)
    journal.step(steps.UNDO_GIVE_UP, lambda: give_up(plan, config, journal, aside))
    journal.finish("undone")


def _put_aside(plan: RestorePlan, aside: str | None) -> None:
    """Only while the old directory still waits (if there was one) is the one in the live place the restored one."""
    if aside and (_kept(plan) or not plan.live["exists"]):
        move(plan.data_directory, aside)


def _placed(plan: RestorePlan, journal: Journal) -> bool:
    """Whether the restored directory has taken a place in which there was nothing before."""
    begun = journal.status(steps.PLACE_NEW) is not None
    return begun and os.path.isdir(plan.data_directory) and not os.path.isdir(plan.staging)


def _kept(plan: RestorePlan) -> bool:
    return os.path.isdir(plan.kept_directory)


def _plan_for_execution(
    config: ClusterConfig, repository: Repository, request: RestoreRequest
) -> tuple[RestorePlan, dict[str, Any]]:
    """``latest`` is planned twice: before the cluster is stopped (is it reachable at all?) and after."""
    running = Instance(config).status().running
    facts: dict[str, Any] = {"live_was_running": running}
    if request.target.kind != "latest":
        return plan_after_archiving(config, repository, request), facts
    plan = plan_restore(config, repository, request)
    if not plan.live["exists"] or plan.live["stranger"]:
        return plan, facts
    facts["down_since"] = time.time() if running else None
    try:
        stop_and_archive(config, repository, request.accept_unarchived)
        return plan_restore(config, repository, request), facts
    except KeeperError:
        if running:
            Instance(config).start()
        raise


def _execute(
    plan: RestorePlan,
    config: ClusterConfig,
    repository: Repository,
    journal: Journal,
    home: ClusterConfig,
    *,
    resumes: bool,
) -> dict[str, Any]:
    progress = Progress(f"{config.state_directory}/progress.json", "restore", identity=plan.id)
    engine = NativeEngine(repository)
    try:
        evidence = Execution(plan, config, repository, engine, journal, progress, home).run()
    except KeeperError as error:
        progress.finish("failed", error.code)
        error.details.setdefault("state", world(config, journal))
        raise
    except BaseException:
        progress.finish("failed", "interrupted")
        raise
    journal.note(evidence=evidence["path"])
    progress.finish("done")
    return {
        **_result(plan, changed=True, executed=True, resumes=resumes),
        "evidence": evidence["path"],
        "record": evidence,
    }


def world(config: ClusterConfig, journal: Journal) -> dict[str, Any]:
    """The state that a failure left: what runs, what is done, where the data is."""
    plan = RestorePlan.from_dict(journal.data["plan"])
    done = [name for name in steps.RESTORE if journal.is_done(name)]
    return {
        "running": Instance(config).status().running,
        "steps_done": done,
        "swapped": steps.PLACE_NEW in done,
        "data_directory": plan.data_directory,
        "kept_directory": plan.kept_directory if _kept(plan) else None,
        "work_directory": plan.work_directory if staging.exists(plan) else None,
    }


def _unfinished(journal: Journal, request: RestoreRequest, config: ClusterConfig) -> RestorePlan:
    if journal.data.get("undone_directory") is not None or journal.status(steps.UNDO_STOP):
        raise Refused(
            "undo-unfinished",
            attempted=f"restore cluster {config.cluster}",
            happened=f"an undo begun {journal.record['begun']} was interrupted",
            remedy=f"Finish it first: dbkeeper undo --cluster {config.cluster} --confirm {config.cluster}",
        )
    if journal.data["request_identity"] != request.identity:
        asked = journal.data["plan"]["request"]["asked"]
        raise Refused(
            "restore-unfinished",
            attempted=f"restore cluster {config.cluster} to {request.asked}",
            happened=f"a restore to {asked}, begun {journal.record['begun']}, is not finished",
            remedy=(
                f"Run it again with its own target to finish it, or abandon it: "
                f"dbkeeper undo --cluster {config.cluster} --confirm {config.cluster}"
            ),
            details={"plan_id": journal.identity},
        )
    return RestorePlan.from_dict(journal.data["plan"])


def _already(journal: Journal | None, request: RestoreRequest, config: ClusterConfig) -> RestorePlan | None:
    """The finished plan of the same request, while its product still lives in the data directory."""
    if journal is None or journal.state != "done" or request.again:
        return None
    if journal.data["request_identity"] != request.identity:
        return None
    control = live_cluster(config).control
    reached = journal.data.get("reached") or {}
    if control is None or control.timeline < int(reached.get("new_timeline", 1)):
        return None
    return RestorePlan.from_dict(journal.data["plan"])


def _confirmed(config: ClusterConfig, confirm: str | None, verb: str) -> None:
    if confirm != config.cluster:
        raise Refused(
            "confirmation-missing",
            attempted=f"{verb} cluster {config.cluster}",
            happened="this replaces the live data directory, and nobody confirmed it by the cluster's name",
            remedy=f"Look at the plan first (dbkeeper plan, or --check), then repeat with confirm={config.cluster}.",
        )


def _repository(config: ClusterConfig) -> Repository:
    repository = repository_named_by(config)
    repository.require(f"restore cluster {config.cluster}")
    return repository


def _journal(config: ClusterConfig) -> Journal | None:
    return Journal.load(journal_path(config), attempted="read the journal of the last restore")


def _result(plan: RestorePlan, *, changed: bool, executed: bool, resumes: bool = False) -> dict[str, Any]:
    return {
        "changed": changed,
        "executed": executed,
        "resumes": resumes,
        "plan": plan.to_dict(),
        "at": format_utc(utc_now()),
    }
