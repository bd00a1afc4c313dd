# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""From the place that a configuration names to the repository there: here, or on another host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .layout import Repository
from .place import is_elsewhere
from .remote.client import remote_repository
from .remote.wal import RemoteWalSource
from .source import NativeWalSource


def open_repository(
    place: str, cluster: str, ssh: Mapping[str, Any] | None, state_directory: str
) -> Repository:
    """``place`` is a path or ``ssh://user@host[:port]/path``; ``ssh`` has ``identity_file``, ``known_hosts_file``.

    Touches nothing and calls nobody. Raises :class:`Refused` ``config-malformed``.
    """
    if is_elsewhere(place):
        return remote_repository(place, cluster, dict(ssh or {}), state_directory)
    return Repository(place, cluster)


def wal_source(repository: Repository, system_id: int) -> NativeWalSource | RemoteWalSource:
    """The archive of one system."""
    if repository.elsewhere:
        return RemoteWalSource(repository, system_id)
    return NativeWalSource(repository, system_id)
