# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Verification on the host of the cluster, or on that of its repository: what is promised, whose identity, progress."""

from __future__ import annotations

from typing import Any

from ..backup.expire import live_position, local_repository
from ..backup.kept import remembered_policy
from ..cluster.config import ClusterConfig
from ..core.privilege import assume, owner_of
from ..core.progress import Progress, read_progress
from ..repository.layout import Repository
from .gentle import stand_back
from .trial import sweep_if_idle
from .verify import VerifyRequest, verify


def verify_cluster(config: ClusterConfig, request: VerifyRequest, *, check: bool = False) -> dict[str, Any]:
    """On the cluster's host; see :func:`.verify.verify`. Raises also :class:`Refused` ``repository-elsewhere``."""
    repository = local_repository(config, f"verify what is stored of cluster {config.cluster}", "verify")
    path = f"{config.state_directory}/progress.json"
    # A backup or a restore that runs now is what people look at there.
    busy = check or (read_progress(path) or {}).get("state") == "running"
    progress = Progress(None if busy else path, "verify")
    progress.phase("verify")
    if not check:
        stand_back()
        sweep_if_idle(config)
    with progress.ending():
        return verify(
            repository,
            config.bin_directory,
            request,
            policy=config.retention or remembered_policy(repository),
            live=live_position(config),
            check=check,
            progress=lambda done, total, note: progress.update(done, total=total, note=note or None),
        )


def verify_there(
    root: str, cluster: str, request: VerifyRequest, bin_directory: str | None, *, check: bool = False
) -> dict[str, Any]:
    """On the repository's host: no description, no cluster, as the repository's owner."""
    repository = Repository(root, cluster)
    repository.require(f"verify what is stored of cluster {cluster}")
    assume(owner_of(repository.path))
    if not check:
        stand_back()
    return verify(
        repository,
        bin_directory or "/nonexistent",
        request,
        policy=remembered_policy(repository),
        check=check,
    )
