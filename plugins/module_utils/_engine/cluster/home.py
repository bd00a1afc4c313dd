# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The repository that a cluster's description names.

Apart from the description: most who read one never open the repository, and a module carries all that it imports.
"""

from __future__ import annotations

from dataclasses import asdict

from ..repository.layout import Repository
from ..repository.opening import open_repository
from .config import ClusterConfig


def repository_named_by(config: ClusterConfig) -> Repository:
    """The repository of a cluster; touches nothing and calls nobody. Raises :class:`Refused` ``config-malformed``."""
    access = asdict(config.ssh) if config.ssh else None
    return open_repository(config.repository, config.cluster, access, config.state_directory)
