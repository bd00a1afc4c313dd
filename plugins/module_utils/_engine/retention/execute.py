# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Carries an expiry out: remember, mark, confirm, delete, forget, WAL last. Decides nothing but to do less.

Nothing is resumed from the journal: what a killed run left (marked backups, directories put aside, WAL that
nothing needs) is found again by the next plan.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ..core.errors import Failed
from ..core.files import fsync_directory, rename_durable
from ..core.journal import Journal
from ..repository.catalog import ENTRY, EXPIRED, Backup, Catalog, read_catalog, write_backup
from ..repository.given_up import read_given_up
from ..repository.layout import Repository
from ..repository.leases import list_leases
from ..wal.source import StoredWal
from . import steps
from .memory import remember
from .plan import ExpiryPlan, make_plan
from .shelf import ShelfExecution
from .state import RetentionState, living
from .survivors import prove_survivors

Watch = Callable[[str], None]


@dataclass
class Done:
    """What was deleted."""

    backups: list[str] = field(default_factory=list)
    segments: int = 0
    freed_bytes: int = 0
    spared: list[str] = field(default_factory=list)
    dumps: list[str] = field(default_factory=list)


class Execution:
    """One expiry on its way. ``watch`` is told each deed before it is done (tests)."""

    def __init__(
        self,
        plan: ExpiryPlan,
        repository: Repository,
        journal: Journal,
        *,
        progress: Callable[[int, int], None],
        watch: Watch,
    ) -> None:
        self.plan = plan
        self.repository = repository
        self.journal = journal
        self.done = Done()
        self._progress = progress
        self._watch = watch
        self._before = {verdict.label: verdict.backup for verdict in plan.doomed}
        self._shelf = ShelfExecution(plan.dumps, plan.dump_policy, repository, watch=watch)
        self._wal = [stored for one in plan.wal for stored in one.doomed]

    def run(self) -> Done:
        """All steps. Raises :class:`Failed` (``repository-not-writable``); what is left is found again."""
        try:
            actions = (
                self._remember,
                self._mark,
                self._confirm,
                self._delete,
                self._forget,
                self._remove_wal,
            )
            for name, action in zip(steps.EXPIRE, actions):
                self.journal.step(name, action)
        except OSError as error:
            raise Failed(
                "repository-not-writable",
                attempted="delete what is not needed any more",
                happened=f"{error.filename or self.repository.path}: {error.strerror}; "
                "nothing that is listed is damaged",
                remedy=f"Let the cluster's owner write below {self.repository.path}, then run the same command again.",
            ) from error
        self.done.dumps += self._shelf.deleted
        self.done.spared += self._shelf.spared
        self.done.freed_bytes += self._shelf.freed_bytes
        return self.done

    def _remember(self) -> None:
        """Before the first sign of life goes: without them a quiet time would be taken for a leap of the clock."""
        if self._before or self._wal:
            self._watch("remember")
            remember(self.repository, self.plan.choice.memory)

    def _mark(self) -> None:
        """From here on no restore begins with them."""
        self._shelf.mark()
        for label, backup in self._before.items():
            if backup.status != EXPIRED:
                self._watch(f"mark {label}")
                write_backup(self.repository, backup.changed(status=EXPIRED))

    def _confirm(self) -> None:
        """Who took a lease or built on one before the mark is seen now; who comes later sees the mark."""
        self._watch("confirm")
        now = self._state_now()
        self._shelf.confirm(now.leases)
        final = make_plan(self.plan.policy, now)
        prove_survivors(final)
        doomed = {verdict.label for verdict in final.doomed}
        for label, backup in list(self._before.items()):
            if label not in doomed:
                self._watch(f"spare {label}")
                write_backup(self.repository, backup)
                del self._before[label]
                self.done.spared.append(label)
        still = {stored.location for one in final.wal for stored in one.doomed}
        self._wal = [stored for stored in self._wal if stored.location in still]

    def _state_now(self) -> RetentionState:
        found = read_catalog(self.repository)
        backups = tuple(_unmarked(one, self._before) for one in found.backups)
        catalog = Catalog(backups, found.damaged)
        leases = tuple(lease for lease in list_leases(self.repository) if lease.active)
        given_up = read_given_up(self.repository)
        return replace(
            self.plan.state, catalog=catalog, leases=leases, alive=living(catalog), given_up=given_up
        )

    def _delete(self) -> None:
        self._shelf.delete()
        for label in self._before:
            directory = self.repository.backup(label)
            for name in sorted(os.listdir(directory)):
                if name == ENTRY:
                    continue
                self._watch(f"delete {label}/{name}")
                self.done.freed_bytes += _remove(f"{directory}/{name}")

    def _forget(self) -> None:
        self._shelf.forget()
        for label in self._before:
            aside = f"{self.repository.base}/{steps.ASIDE}{label}"
            self._watch(f"clear {aside}")
            shutil.rmtree(aside, ignore_errors=True)
            self._watch(f"forget {label}")
            rename_durable(self.repository.backup(label), aside)
            self.done.backups.append(label)
        for name in sorted(os.listdir(self.repository.base)):
            if name.startswith(steps.ASIDE):
                self._watch(f"remove {name}")
                shutil.rmtree(f"{self.repository.base}/{name}")

    def _remove_wal(self) -> None:
        directories: set[str] = set()
        total = len(self._wal)
        for number, stored in enumerate(self._wal):
            self._watch(f"wal {stored.name}")
            self._progress(number, total)
            self.done.freed_bytes += _remove(self._path(stored))
            self.done.segments += 1
            directories.add(os.path.dirname(stored.location))
        for directory in sorted(directories):
            self._watch(f"tidy {directory}")
            fsync_directory(directory)
            # A timeline of the past; the archiver makes it again should it still be needed.
            with contextlib.suppress(OSError):
                os.rmdir(directory)

    def _path(self, stored: StoredWal) -> str:
        if not stored.location.startswith(f"{self.repository.path}/wal/"):
            raise ValueError(f"{stored.location} is not in the archive of {self.repository.path}")
        return stored.location


def _unmarked(found: Backup, before: dict[str, Backup]) -> Backup:
    """As it was before we marked it; what somebody else has done to it since counts."""
    ours = before.get(found.label)
    return found.changed(status=ours.status) if ours is not None and found.status == EXPIRED else found


def _remove(path: str) -> int:
    """Bytes on disk that became free; nothing when it has gone already."""
    try:
        status = os.lstat(path)
        if os.path.isdir(path) and not os.path.islink(path):
            freed = sum(
                os.lstat(os.path.join(directory, name)).st_size
                for directory, _dummy, names in os.walk(path)
                for name in names
            )
            shutil.rmtree(path)
            return freed
        os.unlink(path)
    except FileNotFoundError:
        return 0
    return status.st_size
