# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The one door to copying: every place that is wished, one after the other, each with its own result.

What fails at one place does not keep the others from theirs; the result says so and the exit status is 3.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ..backup.expire import local_repository
from ..cluster.repository_host import DIRECTORY as HOSTS
from ..cluster.repository_host import Described
from ..cluster.wishes_copies import DOOR, CopyWish
from ..core.clock import format_utc, utc_now
from ..core.errors import EXIT_DONE, EXIT_FAILED, Failed, KeeperError, Refused
from ..core.locks import locked
from ..core.progress import Progress
from ..repository.layout import Repository
from ..repository.place import host_and_directory
from .execute import Execution, Watch
from .expire import expire_copy
from .objects import inventory
from .opening import open_store, prepare, require_marker
from .plan import make_plan
from .sealing import SUFFIXES, Sealer
from .sheets import DIRECTORY as SHEETS
from .sheets import WHOLE, Sheet, read_sheet
from .sieve import foreseen, sieve
from .status import CopyStatus, keep_status, known_status
from .stores import MARKER, Patience, Store, Throttle
from .through_door import copy_through_door

OPERATION = "copy"


def wished(config: Described, names: Sequence[str], attempted: str) -> list[CopyWish]:
    """The copies of these names; all of them without names. Raises :class:`Refused` ``copy-unknown``."""
    known = {wish.name: wish for wish in config.copies}
    unknown = [name for name in names if name not in known]
    if unknown or not known:
        raise Refused(
            "copy-unknown",
            attempted=attempted,
            happened=f"there is no copy {unknown[0]}" if unknown else "this cluster has no copies",
            remedy=f"Choose one of: {', '.join(known)}."
            if known
            else "Describe one: copies in the cluster's description (backup_copies of the backup role).",
            details={"copies": sorted(known)},
        )
    return [known[name] for name in names] if names else list(known.values())


def copy(
    config: Described,
    names: Sequence[str] = (),
    *,
    check: bool = False,
    check_all: bool = False,
    patience: Patience | None = None,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Bring copies up to date: ``names``, or all. ``check``: only say what would be sent.

    ``check_all``: take the digests of everything in the copies again, and send what is damaged there.
    Raises :class:`Refused` ``copy-unknown``, ``repository-elsewhere``, and as reading the repository does.
    """
    attempted = f"copy the repository of cluster {config.cluster}"
    if config.repository_is_elsewhere:
        host, directory = host_and_directory(config.repository)
        raise Refused(
            "repository-elsewhere",
            attempted=attempted,
            happened=f"the repository is {config.repository}; copies are made where it lies, so that who breaks into "
            "the host of the database can neither reach nor spoil them",
            remedy=f"On {host}: dbkeeper copy --root {shlex.quote(directory)} --cluster {config.cluster}; the copies "
            f"are described there, in {HOSTS}/{config.cluster}.json (docs/repository-elsewhere.md).",
        )
    wishes = wished(config, names, attempted)
    repository = local_repository(config, attempted, "copy")
    results = {}
    for wish in wishes:
        results[wish.name] = _one(config, repository, wish, check, check_all, patience, watch)
    failed = [one for one in results.values() if one["error"] or one["failures"]]
    return {
        "changed": any(one["changed"] for one in results.values()),
        "executed": not check and any(one["changed"] for one in results.values()),
        "copies": results,
        "exit_status": EXIT_FAILED if failed else EXIT_DONE,
    }


def raise_failure(result: dict[str, Any]) -> dict[str, Any]:
    """The result, where all copies ended well. Raises the first error otherwise, with the whole result as details."""
    for name, one in result["copies"].items():
        error = one["error"] or (one["failures"] or [None])[0]
        if error is not None:
            kind = Failed if error["touched"] or result["changed"] else Refused
            raise kind(
                error["code"],
                attempted=f"{error['attempted']} (copy {name})",
                happened=error["happened"],
                remedy=error["remedy"],
                details={**error["details"], "copies": result["copies"]},
            )
    return result


def prepare_copies(
    config: Described, names: Sequence[str] = (), *, anew: bool = False, check: bool = False
) -> dict[str, Any]:
    """Make the places ready. Raises what goes wrong with the first that is not possible."""
    made = []
    for wish in wished(config, names, "prepare copies"):
        if wish.kind == DOOR:
            continue
        with locked(_lock(config, wish), "prepare a copy", attempted=f"prepare the copy {wish.name}"):
            store = open_store(wish, config.cluster, config.state_directory)
            try:
                status = known_status(config, wish.name)
                if check:
                    if store.read(MARKER) is None:
                        made.append(wish.name)
                    continue
                if prepare(store, wish, config.cluster, None if anew else status.identity):
                    made.append(wish.name)
                found = require_marker(store, wish, config.cluster)
                if found["id"] != status.identity:
                    keep_status(config, _new_place(status, found))
            finally:
                store.close()
    return {"changed": bool(made), "executed": bool(made) and not check, "prepared": made}


def read_sheets(store: Store) -> dict[str, Sheet]:
    """All sheets of a copy by their group. Raises :class:`Failed` ``copy-sheet-damaged``."""
    found = {}
    for key in sorted(store.names(SHEETS)):
        data = store.read(key)
        if data is not None:
            sheet = read_sheet(data, f"{store.where}/{key}")
            found[sheet.group] = sheet
    return found


def there(store: Store) -> dict[str, int]:
    """Name -> bytes of everything that lies in a copy."""
    found: dict[str, int] = {}
    for directory in ("wal", "base", "dump", "evidence", "timelines", "rescue"):
        found.update(store.names(directory))
    return found


def _one(
    config: Described,
    repository: Repository,
    wish: CopyWish,
    check: bool,
    check_all: bool,
    patience: Patience | None,
    watch: Watch | None,
) -> dict[str, Any]:
    result: dict[str, Any] = {"to": wish.to, "changed": False, "plan": {}, "sent": {}, "failures": []}
    result.update(expired={}, error=None)
    began = time.time()
    try:
        with locked(_lock(config, wish), f"copy {wish.name}", attempted=f"copy to {wish.name}"):
            status = known_status(config, wish.name)
            try:
                _run(config, repository, wish, result, check, check_all, patience, watch)
                error = result["failures"][0] if result["failures"] else None
            except KeeperError as fault:
                error = result["error"] = fault.to_dict()
            if not check:
                keep_status(config, _told(status, result, error, began))
    except KeeperError as fault:
        result["error"] = fault.to_dict()
    result.pop("marker", None)
    return result


def _run(
    config: Described,
    repository: Repository,
    wish: CopyWish,
    result: dict[str, Any],
    check: bool,
    check_all: bool,
    patience: Patience | None,
    watch: Watch | None,
) -> None:
    if wish.kind == DOOR:
        _run_door(config, repository, wish, result, check)
        return
    sealer = Sealer(wish.sealing) if wish.sealing else None
    store = open_store(wish, config.cluster, config.state_directory, patience)
    progress = (
        None if check else Progress(f"{config.state_directory}/copy-{wish.name}.progress.json", OPERATION)
    )
    try:
        result["marker"] = require_marker(store, wish, config.cluster)
        if sealer is not None:
            sealer.prepare()
        found = inventory(repository)
        groups, damaged = found.groups, [one.to_dict() for one in found.damaged]
        result["failures"] = damaged
        sheets, lying = read_sheets(store), there(store)
        suffix = SUFFIXES[wish.sealing.tool] if wish.sealing else ""
        if wish.retention is not None:
            groups = sieve(groups, sheets, lying, suffix, wish.retention)
        plan = make_plan(groups, sheets, lying, suffix, check_all=check_all)
        result["plan"] = plan.to_dict()
        result["changed"] = plan.changes
        if progress is not None:
            progress.phase("send", total=sum(one.bytes for one in plan.groups))
            execution = Execution(
                store,
                sealer,
                Throttle(wish.max_rate_kbytes),
                progress=_telling(progress),
                watch=watch or (lambda _deed: None),
            )
            try:
                done = execution.run(plan)
            finally:
                result["sent"] = execution.done.to_dict()
                result["failures"] = [*execution.done.failures, *damaged]
            sheets.update(execution.sheets)
            result["newest"] = _newest(sheets)
            result["bytes"] = sum(sheet.stored_bytes for sheet in sheets.values())
            result["objects"] = sum(len(sheet.objects) for sheet in sheets.values())
            result["changed"] = bool(done.objects or done.adopted or done.groups)
        else:
            sheets = foreseen(groups, sheets, lying, suffix)
        if wish.retention is not None and not result["failures"]:
            told = watch or (lambda _deed: None)
            result["expired"] = expire_copy(store, wish.retention, sheets, lying, check=check, watch=told)
            result["changed"] = result["changed"] or result["expired"]["changed"]
        if not check and not result["failures"]:
            result["tidied"] = store.tidy()
    except BaseException as error:
        if progress is not None:
            progress.finish("failed", error.code if isinstance(error, KeeperError) else "interrupted")
        raise
    finally:
        store.close()
        if sealer is not None:
            sealer.close()
    if progress is not None:
        progress.finish("failed" if result["failures"] else "done")


def _run_door(
    config: Described, repository: Repository, wish: CopyWish, result: dict[str, Any], check: bool
) -> None:
    found = inventory(repository)
    result["failures"] = [one.to_dict() for one in found.damaged]
    where = None if check else f"{config.state_directory}/copy-{wish.name}.progress.json"
    progress = Progress(where, OPERATION)
    progress.phase("send")
    with progress.ending():
        copy_through_door(
            config.cluster,
            config.state_directory,
            repository,
            found.groups,
            wish,
            result,
            check=check,
            progress=_telling(progress),
        )


def _told(
    status: CopyStatus, result: dict[str, Any], error: dict[str, Any] | None, began: float
) -> CopyStatus:
    """The status after a run."""
    now = format_utc(utc_now())
    found = result.get("marker") or {}
    status = _new_place(status, found) if found and found["id"] != status.identity else status
    status = replace(
        status,
        last_run_at=now,
        failure=error,
        failures=status.failures + 1 if error else 0,
        left_out=len(result.get("plan", {}).get("left_out", ())),
        **{key: result[key] for key in ("newest", "bytes", "objects") if key in result},
    )
    if error:
        return status
    return replace(status, last_success_at=now, caught_up_at=began, behind_seconds=0.0, behind_objects=0)


def _new_place(status: CopyStatus, found: dict[str, Any]) -> CopyStatus:
    """Another disk in the same place starts its own count."""
    fresh = CopyStatus(status.name, status.to, status.required, status.lag_seconds)
    return replace(fresh, identity=str(found["id"]), encryption=found.get("encryption"))


def _newest(sheets: dict[str, Sheet]) -> dict[str, Any]:
    """The newest object of each kind: its name and when the repository had it finished."""
    found: dict[str, Any] = {}
    for sheet in sheets.values():
        for key, kept in sheet.objects.items():
            if sheet.state != WHOLE or kept.modified_at <= found.get(sheet.kind, {"at": 0.0})["at"]:
                continue
            name = sheet.group if sheet.kind in ("base", "dump") else key
            found[sheet.kind] = {"name": name, "at": kept.modified_at}
    return found


def _lock(config: Described, wish: CopyWish) -> str:
    return f"{config.state_directory}/copy-{wish.name}.lock"


def _telling(progress: Progress) -> Callable[[int], None]:
    return progress.update
