# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Expiry: the one door to state, plan, proof and execution; pins; and what the last expiry did."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from ..core.clock import format_utc, utc_now
from ..core.errors import EXIT_DONE, EXIT_FAILED, Refused
from ..core.journal import Journal
from ..core.locks import locked, owner_record
from ..repository.catalog import VERIFIED, read_backup, write_backup
from ..repository.dumps import read_shelf, write_dump_entry
from ..repository.layout import Repository
from .execute import Execution, Watch
from .plan import ExpiryPlan, make_plan
from .policy import DumpPolicy, Policy
from .state import ask_state
from .survivors import prove_survivors

JOURNAL = "expire.journal.json"


def expire(
    repository: Repository,
    policy: Policy | None,
    bin_directory: str,
    *,
    dumps: DumpPolicy | None = None,
    live: tuple[int, int] | None = None,
    check: bool = False,
    now: datetime | None = None,
    progress: Callable[[int, int], None] | None = None,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Delete what the policy does not want, after proving that what stays can do all that was promised.

    ``dumps``: the same for logical dumps; of what has no policy nothing goes.

    ``bin_directory``: PostgreSQL's programs, needed only for WAL that the index does not know yet. ``live``:
    system identifier and timeline of the cluster that archives here, where known. ``check``: plan and proof only.

    The result has ``changed``, ``executed``, ``plan``, ``deleted``, ``exit_status`` (3 when the archive of the live
    system cannot be judged). Raises :class:`Refused`: ``retention-not-set``, ``busy`` (fault C20),
    ``expiry-unsafe``; :class:`Failed`: ``repository-not-writable``.
    """
    attempted = f"expire backups of cluster {repository.cluster}"
    if policy is None and dumps is None:
        raise Refused(
            "retention-not-set",
            attempted=attempted,
            happened="nobody has said what is to be kept",
            remedy="Set retention in the cluster's description (backup_retention_* of the backup role), or say it: "
            "dbkeeper expire --full-count 2 --window 14d.",
        )
    repository.require(attempted)
    moment = now or utc_now()
    if check:
        return _result(_plan(repository, policy, dumps, bin_directory, live, moment, progress))
    with locked(repository.lock("expire"), "expiry", attempted=attempted):
        plan = _plan(repository, policy, dumps, bin_directory, live, moment, progress)
        path = f"{repository.path}/{JOURNAL}"
        if not plan.changes:
            _note(path, plan, {})
            return _result(plan)
        data = {"plan": _short(plan), "owner": owner_record("expiry")}
        journal = Journal.begin(path, "expire", format_utc(moment), data)
        done = Execution(
            plan,
            repository,
            journal,
            progress=progress or (lambda _done, _total: None),
            watch=watch or (lambda _deed: None),
        ).run()
        deleted = {**done.__dict__, "remains": list(plan.state.remains)}
        journal.note(deleted=deleted)
        journal.finish("done")
        return {**_result(plan), "executed": True, "deleted": deleted}


def pin(repository: Repository, label: str, *, pinned: bool) -> dict[str, Any]:
    """Keep a backup until it is unpinned, or give it back to the policy.

    Raises :class:`Refused`: ``backup-unknown``, ``backup-not-verified``, ``busy`` while an expiry runs.
    """
    attempted = f"{'pin' if pinned else 'unpin'} backup {label}"
    repository.require(attempted)
    if "/" in label:
        return _pin_dump(repository, label, pinned=pinned)
    with locked(repository.lock("expire"), "pin", attempted=attempted, patience=60.0):
        backup = read_backup(repository, label)
        if pinned and backup.status != VERIFIED:
            raise Refused(
                "backup-not-verified",
                attempted=attempted,
                happened=f"its status is {backup.status}",
                remedy="Pin a verified backup; dbkeeper info lists them.",
                details={"label": label, "status": backup.status},
            )
        changed = backup.pinned is not pinned
        if changed:
            write_backup(repository, backup.changed(pinned=pinned))
    return {"changed": changed, "label": label, "pinned": pinned}


def _pin_dump(repository: Repository, key: str, *, pinned: bool) -> dict[str, Any]:
    attempted = f"{'pin' if pinned else 'unpin'} {key}"
    with locked(repository.lock("expire"), "pin", attempted=attempted, patience=60.0):
        dump = read_shelf(repository).find(key)
        if pinned and not dump.verified:
            raise Refused(
                "backup-not-verified",
                attempted=attempted,
                happened=f"its status is {dump.status}",
                remedy="Pin a verified dump; dbkeeper info lists them.",
                details={"key": key, "status": dump.status},
            )
        changed = dump.pinned is not pinned
        if changed:
            write_dump_entry(repository, dump.changed(pinned=pinned))
    return {"changed": changed, "label": key, "pinned": pinned}


def last_expiry(repository: Repository) -> dict[str, Any] | None:
    """What the last expiry did; ``state`` is ``running`` while it runs, and when it was killed."""
    if repository.elsewhere:
        # Only its own host knows.
        return None
    journal = Journal.load(f"{repository.path}/{JOURNAL}", attempted="read the journal of the last expiry")
    if journal is None:
        return None
    plan = journal.data.get("plan", {})
    return {
        "at": journal.record.get("ended") or journal.record.get("begun"),
        "state": journal.state,
        "owner": journal.data.get("owner", {}),
        "policy": plan.get("policy"),
        "since": plan.get("since"),
        "oldest": plan.get("oldest"),
        "blocked": plan.get("blocked", []),
        "held": [item["error"]["code"] for item in plan.get("held", [])],
        "deleted": journal.data.get("deleted", {}),
    }


def _plan(
    repository: Repository,
    policy: Policy | None,
    dumps: DumpPolicy | None,
    bin_directory: str,
    live: tuple[int, int] | None,
    now: datetime,
    progress: Callable[[int, int], None] | None,
) -> ExpiryPlan:
    state = ask_state(repository, bin_directory, live=live, now=now, progress=progress)
    plan = make_plan(policy, state, dumps)
    prove_survivors(plan)
    return plan


def _note(path: str, plan: ExpiryPlan, deleted: dict[str, Any]) -> None:
    """That nothing was to be done is worth knowing, too."""
    journal = Journal.begin(
        path, "expire", format_utc(plan.state.now), {"plan": _short(plan), "deleted": deleted}
    )
    journal.finish("done")


def _short(plan: ExpiryPlan) -> dict[str, Any]:
    """The plan without what stays because it is wanted."""
    value = plan.to_dict()
    value["backups"] = [one for one in value["backups"] if one["action"] == "expire"]
    value["dumps"] = [one for one in value["dumps"] if one["action"] == "expire"]
    value["wal"] = [one for one in value["wal"] if one["action"] == "expire"]
    return value


def _result(plan: ExpiryPlan) -> dict[str, Any]:
    live = plan.state.live
    held = [view for view in plan.choice.systems if view.held and live and view.state.system_id == live[0]]
    unsure = held or (live is None and any(view.held for view in plan.choice.systems))
    return {
        "changed": plan.changes,
        "executed": False,
        "plan": plan.to_dict(),
        "deleted": {},
        "exit_status": EXIT_FAILED if unsure else EXIT_DONE,
    }
