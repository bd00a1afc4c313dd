# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The seam to backup engines: what a restore asks of one, and the native answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from ..wal.source import WalSource
from .catalog import Catalog, read_catalog
from .fetch import Contents, Fetched, fetch, look
from .layout import Repository
from .opening import wal_source

Progress = Callable[[int], None]


class BackupEngine(Protocol):
    """All that plan and restore know of where backups come from."""

    def list_backups(self) -> Catalog:
        """Every backup and every damaged entry."""

    def look_at_backup(self, label: str) -> Contents:
        """Whether names, sizes and manifest of a backup are sound, without reading its data; see :func:`look`."""

    def fetch_backup(
        self,
        label: str,
        directory: str,
        *,
        tablespace_map: Mapping[int, str] | None = None,
        progress: Progress | None = None,
        durable: bool = True,
        as_link: bool = False,
    ) -> Fetched:
        """Put the data directory of a backup into ``directory``, proven file by file; see :func:`fetch`."""

    def verify_backup(self, label: str, *, progress: Progress | None = None) -> Fetched:
        """Read a whole stored backup as a fetch would, writing nothing."""

    def wal_source(self, system_id: int | str) -> WalSource:
        """The archive of one system."""


class NativeEngine:
    """PostgreSQL's own tools and plain files in a repository."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository

    def list_backups(self) -> Catalog:
        """See :func:`read_catalog`."""
        return read_catalog(self.repository)

    def look_at_backup(self, label: str) -> Contents:
        """See :func:`look`."""
        return look(self.repository, label)

    def fetch_backup(
        self,
        label: str,
        directory: str,
        *,
        tablespace_map: Mapping[int, str] | None = None,
        progress: Progress | None = None,
        durable: bool = True,
        as_link: bool = False,
    ) -> Fetched:
        """See :func:`fetch`."""
        return fetch(
            self.repository,
            label,
            directory,
            tablespace_map=tablespace_map or {},
            progress=progress,
            durable=durable,
            as_link=as_link,
        )

    def verify_backup(self, label: str, *, progress: Progress | None = None) -> Fetched:
        """See :func:`fetch`; ``directory`` None."""
        return fetch(self.repository, label, None, tablespace_map={}, progress=progress, durable=False)

    def wal_source(self, system_id: int | str) -> WalSource:
        """The native archive."""
        return wal_source(self.repository, int(system_id))
