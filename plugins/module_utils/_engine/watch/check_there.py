# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""``dbkeeper check --root``: what the host of a repository can see, also when that of the database is gone.

It asks no server. That backups and WAL come in, that they are as large as usual, that copies, verification and expiry
work: a database host that has died says none of that any more.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from ..backup.health import catalog as catalog_check
from ..backup.health import disk, newest_backup
from ..backup.kept import expiry_check
from ..cluster.repository_host import RepositoryHost
from ..core.check_words import told
from ..core.clock import format_utc, utc_now
from ..core.errors import KeeperError
from ..core.sayings import span
from ..repository.catalog import Backup, Catalog, read_catalog
from ..repository.layout import Repository
from ..repository.leases import list_leases
from ..retention.expiry import last_expiry
from . import judge as judging
from .check import copies, guarded, judged, of_the_history, verified
from .finding import FAILED, OK, Finding, Measure
from .history import OK as DONE
from .notify import notification
from .space import forecast, free_and_total, sampled

#: Twice a week and a day, where nobody says how often full ones are taken.
_FULL_SECONDS = 15 * 86400


def check_there(host: RepositoryHost, repository: Repository) -> dict[str, Any]:
    """The same result as :func:`.check.check`, with fewer checks. Raises as reading the catalog does."""
    now = utc_now()
    catalog = read_catalog(repository)
    usable = catalog.usable()
    looked_at: list[tuple[str, Callable[[], Finding]]] = [
        ("backup", lambda: _newest(host, usable, now)),
        ("full-backup", lambda: _full(host, usable, now)),
        ("catalog", lambda: _catalog(catalog)),
        ("received", lambda: _received(host, repository, now)),
        ("disk", lambda: _disk(repository, catalog)),
        ("space", lambda: _space(host, repository, now)),
        ("expiry", lambda: _expiry(repository, now)),
        ("copies", lambda: copies(host)),
        ("verification", lambda: _verified(host, repository, catalog, now)),
    ]
    found = [Finding.told("repository", OK, "repository_ok", path=repository.path)]
    found += [guarded(name, look) for name, look in looked_at]
    found += of_the_history(host.state_directory, now, [_as_run(one) for one in usable])
    found.append(guarded("notification", lambda: notification(host)))
    ended = [one.stopped_at for one in usable if one.stopped_at]
    age = (now - max(ended)).total_seconds() if ended else None
    known = {"freshness": {"newest_backup_age_seconds": age}, "backups": [], "windows": [], "gaps": []}
    result = {"changed": False, "cluster": host.cluster, "at": format_utc(now), "information": known}
    return judged(result, [one.to_dict() for one in found])


def _newest(host: RepositoryHost, usable: list[Backup], now: datetime) -> Finding:
    newest = max(usable, key=_ended, default=None)
    label, age = (newest.label, (now - _ended(newest)).total_seconds()) if newest else (None, None)
    return Finding.of(newest_backup(label, age, host.objectives.backup_age_seconds).to_dict())


def _full(host: RepositoryHost, usable: list[Backup], now: datetime) -> Finding:
    newest = max((one for one in usable if one.kind == "full"), key=_ended, default=None)
    goal = host.objectives.full_backup_age_seconds or _FULL_SECONDS
    if newest is None:
        return judging.full_backup(None, None, goal)
    return judging.full_backup(newest.label, (now - _ended(newest)).total_seconds(), goal)


def _catalog(catalog: Catalog) -> Finding:
    chains = [(one.label, catalog.fault(one)) for one in catalog.backups if one.verified]
    return Finding.of(
        catalog_check(
            [entry.label for entry in catalog.damaged],
            [{"label": one.label, **one.unsound} for one in catalog.backups if one.unsound is not None],
            [{"label": label, "text": fault.happened} for label, fault in chains if fault is not None],
        ).to_dict()
    )


def _received(host: RepositoryHost, repository: Repository, now: datetime) -> Finding:
    """A quiet database may send no WAL for long; a backup brings some each time."""
    newest = max(_arrivals(repository), default=None)
    if newest is None:
        return Finding.told("received", FAILED, "received_none")
    age = max(0.0, now.timestamp() - newest[0])
    goal = host.objectives.backup_age_seconds
    late = age > goal
    return Finding.told(
        "received",
        FAILED if late else OK,
        "received_old" if late else "received_ok",
        Measure("wal_received_age_seconds", round(age, 1), most=goal),
        name=newest[1],
        age=span(age),
        goal=span(goal),
    )


def _arrivals(repository: Repository) -> Iterator[tuple[float, str]]:
    """When each file of the newest directories of WAL came, and its name."""
    for system_id in repository.system_ids():
        with os.scandir(repository.wal(system_id)) as entries:
            timelines = [entry.path for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
        for path in timelines:
            # An expiry takes segments away, and a timeline with its last one.
            with contextlib.suppress(FileNotFoundError), os.scandir(path) as files:
                for file in files:
                    if not file.name.startswith("."):
                        with contextlib.suppress(FileNotFoundError):
                            yield file.stat().st_mtime, file.name.partition(".")[0]


def _disk(repository: Repository, catalog: Catalog) -> Finding:
    sizes = [one.stored_bytes or 0 for one in catalog.backups]
    return Finding.of(disk(free_and_total(repository.path)[0], max(sizes, default=0)).to_dict())


def _space(host: RepositoryHost, repository: Repository, now: datetime) -> Finding:
    free, total = free_and_total(repository.path)
    samples = sampled(host.state_directory, free, now)
    return judging.space(free, total, forecast(samples, now), host.objectives.free_days)


def _expiry(repository: Repository, now: datetime) -> Finding:
    try:
        last, error = last_expiry(repository), None
    except KeeperError as damaged:
        last, error = None, damaged.to_dict()
    leases = [{"id": one.id, "damaged": one.damaged} for one in list_leases(repository) if one.active]
    policy = (last or {}).get("policy")
    facts = {"last": last, "error": error, "policy": policy, "leases": leases, "oldest": None}
    found = Finding.of(expiry_check(facts, now).to_dict())
    if found.state == OK and last is not None:
        # What can be restored is asked where the WAL is read.
        return Finding.of(told("expiry", OK, "expiry_last", at=last["at"]))
    return found


def _verified(host: RepositoryHost, repository: Repository, catalog: Catalog, now: datetime) -> Finding:
    ended = [format_utc(one.stopped_at) for one in catalog.backups if one.verified and one.stopped_at]
    goal = host.objectives.verification_age_seconds
    return verified(repository, host.state_directory, min(ended, default=None), goal, now)


def _as_run(backup: Backup) -> dict[str, Any]:
    """A backup that another host has sent, as the history of that host would tell of it: so that sizes compare."""
    seconds = sum(backup.seconds.values()) if backup.seconds else None
    return {
        "id": backup.label,
        "operation": "backup",
        "who": {},
        "began_at": format_utc(backup.started_at),
        "result": DONE,
        "code": None,
        "seconds": seconds,
        "facts": {"kind": backup.kind, "plain_bytes": backup.plain_bytes},
    }


def _ended(backup: Backup) -> datetime:
    return backup.stopped_at or backup.started_at
