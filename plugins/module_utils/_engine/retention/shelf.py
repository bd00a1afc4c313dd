# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Dumps in an expiry: what is on the shelf, and the deeds that take one off it, in an order that survives a crash.

Marked first, confirmed, its files deleted, and only then out of the listing: what is listed and not marked is whole.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Sequence

from ..core.files import rename_durable, tree_size
from ..core.locks import owner_alive
from ..repository.catalog import EXPIRED, RUNNING
from ..repository.dumps import DUMP_ENTRY, Dump, Shelf, read_shelf, write_dump_entry
from ..repository.layout import Repository
from ..repository.leases import Lease
from .generations import DumpPlan, DumpState, plan_dumps, prove_dumps
from .policy import DumpPolicy
from .steps import ASIDE

Watch = Callable[[str], None]


def ask_shelf(repository: Repository, leases: Iterable[Lease]) -> DumpState:
    """Look. Raises as :func:`~..repository.dumps.read_shelf` does."""
    shelf = read_shelf(repository)
    return DumpState(
        shelf=shelf,
        alive=_alive(shelf),
        leases=_held(leases),
        sizes={one.key: tree_size(one.directory(repository)) for one in shelf.dumps},
        remains=tuple(_remains(repository)),
    )


def _alive(shelf: Shelf) -> frozenset[str]:
    return frozenset(one.key for one in shelf.dumps if one.status == RUNNING and owner_alive(one.owner))


def _held(leases: Iterable[Lease]) -> dict[str | None, tuple[str, ...]]:
    """Key -> the leases on it; None -> those that cannot be read and so hold everything."""
    found: dict[str | None, tuple[str, ...]] = {}
    for lease in leases:
        key = None if lease.damaged is not None else lease.label
        if key is not None or lease.damaged is not None:
            found[key] = (*found.get(key, ()), lease.id)
    return found


def _remains(repository: Repository) -> list[str]:
    """Directories that an earlier expiry has put aside, below ``dump``."""
    root = f"{repository.path}/dump"
    if not os.path.isdir(root):
        return []
    databases = [name for name in os.listdir(root) if os.path.isdir(f"{root}/{name}")]
    return sorted(
        f"{database}/{name}"
        for database in databases
        for name in os.listdir(f"{root}/{database}")
        if name.startswith(ASIDE)
    )


class ShelfExecution:
    """The part of an expiry that is about dumps; :class:`.execute.Execution` calls it step by step."""

    def __init__(
        self, plan: DumpPlan, policy: DumpPolicy | None, repository: Repository, *, watch: Watch
    ) -> None:
        self._policy = policy
        self._repository = repository
        self._watch = watch
        self._before = {one.dump.key: one.dump for one in plan.doomed}
        self.deleted: list[str] = []
        self.spared: list[str] = []
        self.freed_bytes = 0

    def mark(self) -> None:
        """From here on nobody loads from them."""
        for key, dump in self._before.items():
            if dump.status != EXPIRED:
                self._watch(f"mark {key}")
                write_dump_entry(self._repository, dump.changed(status=EXPIRED))

    def confirm(self, leases: Sequence[Lease]) -> None:
        """Who took a lease or a pin before the mark is seen now; who comes later sees the mark."""
        if not self._before:
            return
        found = ask_shelf(self._repository, leases)
        dumps = tuple(self._unmarked(one) for one in found.shelf.dumps)
        state = DumpState(Shelf(dumps, found.shelf.damaged), found.alive, found.leases)
        final = plan_dumps(self._policy, state)
        prove_dumps(final, self._policy)
        doomed = {one.dump.key for one in final.doomed}
        for key, dump in list(self._before.items()):
            if key not in doomed:
                self._watch(f"spare {key}")
                write_dump_entry(self._repository, dump)
                del self._before[key]
                self.spared.append(key)

    def _unmarked(self, found: Dump) -> Dump:
        ours = self._before.get(found.key)
        return found.changed(status=ours.status) if ours is not None and found.status == EXPIRED else found

    def delete(self) -> None:
        """The files; the entry stays and says that they are expired."""
        for dump in self._before.values():
            directory = dump.directory(self._repository)
            for name in sorted(os.listdir(directory)):
                if name != DUMP_ENTRY:
                    self._watch(f"delete {dump.key}/{name}")
                    self.freed_bytes += _remove(f"{directory}/{name}")

    def forget(self) -> None:
        """Out of the listing, by a rename; then what is left of them."""
        root = f"{self._repository.path}/dump"
        for key, dump in self._before.items():
            directory = dump.directory(self._repository)
            aside = f"{os.path.dirname(directory)}/{ASIDE}{dump.label}"
            self._watch(f"clear {aside}")
            shutil.rmtree(aside, ignore_errors=True)
            self._watch(f"forget {key}")
            rename_durable(directory, aside)
            self.deleted.append(key)
        for name in _remains(self._repository):
            self._watch(f"remove dump/{name}")
            shutil.rmtree(f"{root}/{name}")


def _remove(path: str) -> int:
    """Stored bytes that became free; nothing when it has gone already."""
    freed = 0
    try:
        if os.path.isdir(path) and not os.path.islink(path):
            freed = tree_size(path)
            shutil.rmtree(path)
        else:
            freed = os.lstat(path).st_size
            os.unlink(path)
    except FileNotFoundError:
        return 0
    return freed
