# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What is in a repository, asked once: backups, leases, WAL. Changes nothing but the WAL index."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ..core.clock import utc_now
from ..core.errors import KeeperError
from ..core.files import tree_size
from ..core.locks import owner_alive
from ..repository.catalog import RUNNING, Catalog, read_catalog
from ..repository.given_up import Notes, read_given_up
from ..repository.layout import Repository
from ..repository.leases import Lease, list_leases
from ..repository.source import NativeWalSource
from ..wal.archive import Archive
from ..wal.index import WalIndex
from ..wal.source import StoredWal
from .ages import Sign
from .generations import DumpState
from .memory import recall
from .shelf import ask_shelf
from .steps import ASIDE

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SystemState:
    """The archive of one system identifier. ``archive`` None: ``error`` says why nobody knows what it holds."""

    system_id: int
    archive: Archive | None
    files: tuple[StoredWal, ...] = ()
    error: KeeperError | None = None


@dataclass(frozen=True)
class RetentionState:
    """All that a plan needs to know; asked once, changed by nobody.

    ``live`` is the system identifier and timeline of the cluster that is archived here, where it is known.
    ``alive`` are the labels of running backups whose makers live. ``sizes``: bytes on disk by label.
    ``remains`` are directories of backups that an earlier expiry has taken out of the catalog. ``dumps`` is the shelf.
    ``remembered``: signs of life of what earlier expiries have deleted. ``given_up``: what undos have noted.
    """

    now: datetime
    catalog: Catalog
    systems: tuple[SystemState, ...]
    leases: tuple[Lease, ...] = ()
    live: tuple[int, int] | None = None
    alive: frozenset[str] = frozenset()
    sizes: Mapping[str, int] = field(default_factory=dict)
    remains: tuple[str, ...] = ()
    dumps: DumpState = field(default_factory=DumpState)
    remembered: tuple[Sign, ...] = ()
    given_up: Notes = field(default_factory=dict)


def ask_state(
    repository: Repository,
    bin_directory: str,
    *,
    live: tuple[int, int] | None = None,
    now: datetime | None = None,
    progress: Progress | None = None,
) -> RetentionState:
    """Look. Raises as :func:`read_catalog` does; an archive that cannot be read is held, not raised."""
    catalog = read_catalog(repository)
    leases = tuple(lease for lease in list_leases(repository) if lease.active)
    sizes = {entry.label: tree_size(repository.backup(entry.label)) for entry in catalog.backups}
    return RetentionState(
        now=now or utc_now(),
        catalog=catalog,
        systems=tuple(
            _system(repository, system_id, bin_directory, progress) for system_id in repository.system_ids()
        ),
        leases=leases,
        live=live,
        alive=living(catalog),
        sizes=sizes,
        remains=tuple(sorted(name for name in os.listdir(repository.base) if name.startswith(ASIDE))),
        dumps=ask_shelf(repository, leases),
        remembered=recall(repository),
        given_up=read_given_up(repository),
    )


def living(catalog: Catalog) -> frozenset[str]:
    """The running backups whose makers live, as far as this host can tell."""
    return frozenset(one.label for one in catalog.backups if one.status == RUNNING and owner_alive(one.owner))


def _system(
    repository: Repository, system_id: int, bin_directory: str, progress: Progress | None
) -> SystemState:
    source = NativeWalSource(repository, system_id)
    try:
        # Listed first: what arrives meanwhile is in the index and not among the files, so it stays.
        files = tuple(source.list_files())
        index = WalIndex(repository.index(system_id))
        archive = index.refresh(source, bin_directory, progress=progress)
    except KeeperError as error:
        return SystemState(system_id, None, error=error)
    return SystemState(system_id, archive, files)
