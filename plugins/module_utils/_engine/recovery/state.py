# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a restore finds: the live cluster, the disks, the catalog and what earlier restores measured."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.controldata import ControlData, read_control_data
from ..cluster.disks import FileSystem, file_system, nearest_existing
from ..cluster.instance import Instance, InstanceStatus
from ..cluster.target import TargetHost
from ..core import privilege
from ..core.clock import utc_now
from ..core.errors import KeeperError, Refused
from ..repository.catalog import Catalog, read_catalog
from ..repository.evidence import list_evidence
from ..repository.layout import Repository


@dataclass(frozen=True)
class Measured:
    """Figures from the newest restore on this host, or None where there was none."""

    stage_bytes_per_second: float | None = None
    replay_bytes_per_second: float | None = None
    downtime_seconds: float | None = None
    source: str = ""


#: What a cluster's directory has: a damaged one lacks some of it, another thing has nothing of it.
_SIGNS_OF_A_CLUSTER = ("PG_VERSION", "global", "base", "pg_wal")


@dataclass(frozen=True)
class LiveCluster:
    """The cluster that a restore would replace. ``control`` is None when there is no readable pg_control.

    ``stranger`` says what lies in its place instead: the system identifier of another cluster, or ``something
    else``. Nothing of a stranger is believed (timeline, unarchived WAL), and it is archived nowhere.
    """

    exists: bool
    status: InstanceStatus
    control: ControlData | None
    ready_segments: tuple[str, ...] = ()
    stranger: str | None = None

    def seen_from(self, system_id: str) -> LiveCluster:
        """The same in the eyes of who restores that system: another one is a stranger."""
        if self.control is None or str(self.control.system_id) == system_id:
            return self
        return replace(self, control=None, ready_segments=(), stranger=str(self.control.system_id))


@dataclass(frozen=True)
class HostState:
    """All that a plan needs to know; asked once, changed by nobody."""

    now: datetime
    config: ClusterConfig
    catalog: Catalog
    live: LiveCluster
    owner: str
    running_as: str
    may_control_service: bool
    parent_writable: bool
    renamable: bool = True
    #: The server's own configuration, where it is outside the data directory, is there.
    configured: bool = True
    #: Of the directories above tablespaces, those that are not there and may not be made.
    unreachable: frozenset[str] = frozenset()
    #: Of the directories that tablespaces are mapped to, those in which something lies.
    occupied: frozenset[str] = frozenset()
    #: Where the data directory and the directories that tablespaces are mapped to really are, links followed.
    real_paths: Mapping[str, str] = field(default_factory=dict)
    disks: Mapping[str, FileSystem] = field(default_factory=dict)
    repository_device: int | None = None
    #: Whether the key with which a repository elsewhere is reached may add to it.
    repository_writable: bool = True
    measured: Measured = Measured()
    #: What the host has that the chosen backup needs; asked once the backup is known.
    target: TargetHost | None = None


def live_cluster(config: ClusterConfig) -> LiveCluster:
    """Look at the live data directory and its server without touching either."""
    directory = config.data_directory
    instance = Instance(config)
    status = instance.status()
    control = None
    if os.path.isfile(f"{directory}/global/pg_control"):
        try:
            control = read_control_data(config.bin_directory, directory)
        except KeeperError:
            # A damaged pg_control is a reason to restore, not a reason to refuse to.
            control = None
    return LiveCluster(
        os.path.isdir(directory),
        status,
        control,
        ready_segments(directory),
        None if control else _stranger(directory),
    )


def _stranger(directory: str) -> str | None:
    """What is no cluster, not even a damaged one, and not empty."""
    try:
        names = os.listdir(directory)
    except OSError:
        return None
    return "something else" if names and not set(names) & set(_SIGNS_OF_A_CLUSTER) else None


def ready_segments(data_directory: str) -> tuple[str, ...]:
    """WAL that the server has finished and not archived yet, as far as pg_wal/archive_status can be read.

    A directory that cannot be read is a reason to restore, not a reason to refuse to; whoever must know asks
    :func:`waiting_segments`.
    """
    try:
        return waiting_segments(data_directory)
    except Refused:
        return ()


def waiting_segments(data_directory: str) -> tuple[str, ...]:
    """The same for certain. Raises :class:`Refused` (``live-wal-not-archived``) where nobody can say."""
    path = f"{data_directory}/pg_wal/archive_status"
    try:
        names = os.listdir(path)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise Refused(
            "live-wal-not-archived",
            attempted="see which WAL of the live cluster waits to be archived",
            happened=f"{path}: {error.strerror}; what only the live cluster has is not known",
            remedy="Give the cluster's owner access to it, or mend its disk; or repeat with accept_unarchived "
            "(--accept-unarchived) and lose what was never archived.",
            details={"path": path},
        ) from error
    return tuple(sorted(name[: -len(".ready")] for name in names if name.endswith(".ready")))


def measured(repository: Repository) -> Measured:
    """What the newest finished restore on this host says of speeds and downtime."""
    here = socket.gethostname()
    done = [
        item
        for item in list_evidence(repository)
        if item.get("result") == "restored" and item.get("host", here) == here
    ]
    if not done:
        return Measured()
    last = max(done, key=lambda item: str(item.get("ended", "")))
    seconds = last.get("seconds", {})

    def rate(amount: Any, phase: str) -> float | None:
        spent = seconds.get(phase)
        return amount / spent if amount and spent else None

    return Measured(
        stage_bytes_per_second=rate(last.get("staged_bytes"), "stage"),
        replay_bytes_per_second=rate(last.get("wal_bytes"), "replay"),
        downtime_seconds=last.get("downtime_seconds"),
        source=str(last.get("id", "")),
    )


def _writable(directory: str) -> bool:
    return os.access(directory, os.W_OK | os.X_OK, effective_ids=True)


def holds_something(directory: str) -> bool:
    """Whether anything lies in a directory; one that may not be read counts as full."""
    try:
        return bool(os.listdir(directory))
    except FileNotFoundError:
        return False
    except OSError:
        return True


def ask_state(
    config: ClusterConfig, repository: Repository, locations: tuple[str, ...], mapped: Iterable[str] = ()
) -> HostState:
    """Ask everything. ``locations``: directories that the restore would write below; ``mapped``: into which
    tablespaces shall go."""
    mapped = tuple(mapped)
    catalog = read_catalog(repository)
    parent = nearest_existing(os.path.dirname(config.data_directory))
    owner = privilege.owner_of(config.data_directory if os.path.isdir(config.data_directory) else parent)
    assumed = privilege.real_owner()
    return HostState(
        now=utc_now(),
        config=config,
        catalog=catalog,
        live=live_cluster(config),
        owner=owner.name,
        running_as=assumed.name if assumed else privilege.current_user(),
        may_control_service=config.service.manager != "systemd" or privilege.started_as_root(),
        parent_writable=_writable(parent),
        renamable=not os.path.islink(config.data_directory) and not os.path.ismount(config.data_directory),
        configured=config.config_file is None or os.path.isfile(config.config_file),
        unreachable=frozenset(path for path in locations if not _writable(nearest_existing(path))),
        occupied=frozenset(path.rstrip("/") for path in mapped if holds_something(path)),
        real_paths={path: os.path.realpath(path) for path in (config.data_directory, *mapped)},
        disks={path: file_system(path) for path in locations},
        repository_device=None if repository.elsewhere else file_system(repository.path).device,
        repository_writable=not repository.elsewhere or repository.writable(),
        measured=measured(repository),
    )
