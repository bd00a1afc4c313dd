# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Whether there is a backup at all: a look into the catalog that needs no server and asks no other host."""

from __future__ import annotations

from ..cluster.config import ClusterConfig
from ..cluster.controldata import read_control_data
from ..core.errors import KeeperError
from ..repository.catalog import read_catalog
from ..repository.layout import Repository
from ..repository.place import is_elsewhere


def newest_backup(config: ClusterConfig) -> str | None:
    """The label of the newest usable backup of the system that is here.

    None: there is none, or nothing can be told from here (a repository elsewhere, a catalog that cannot be read). Who
    goes on with a backup then is told the reason by that.
    """
    if is_elsewhere(config.repository):
        return None
    try:
        system = read_control_data(config.bin_directory, config.data_directory).system_id
        kept = read_catalog(Repository(config.repository, config.cluster)).usable()
    except (KeeperError, OSError):
        return None
    labels = [backup.label for backup in kept if backup.system_id == system and backup.stopped_at]
    return max(labels, default=None)
