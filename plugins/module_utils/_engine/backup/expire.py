# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Expiry on the host of the cluster: its description says what is kept, its control file what is the present."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.controldata import read_control_data
from ..cluster.repository_host import Described
from ..core.errors import KeeperError, Refused
from ..core.privilege import assume, owner_of
from ..core.progress import Progress
from ..core.sizes import parse_duration
from ..repository.layout import Repository
from ..repository.place import host_and_directory
from ..retention.expiry import expire
from ..retention.policy import DumpPolicy, Generations, Policy


def local_repository(config: Described, attempted: str, command: str = "expire") -> Repository:
    """The repository, if it is on this host. Raises :class:`Refused` (``repository-elsewhere``)."""
    if config.repository_is_elsewhere:
        host, directory = host_and_directory(config.repository)
        raise Refused(
            "repository-elsewhere",
            attempted=attempted,
            happened=f"the repository is {config.repository}; this host may only add to it and fetch from it",
            remedy=f"On {host}, as root or as the owner of {directory}: "
            f"dbkeeper {command} --root {shlex.quote(directory)} --cluster {config.cluster}",
            details={"host": host, "directory": directory},
        )
    repository = Repository(config.repository, config.cluster)
    repository.require(attempted)
    return repository


def expire_cluster(
    config: ClusterConfig,
    policy: Policy | None = None,
    *,
    dumps: DumpPolicy | None = None,
    check: bool = False,
) -> dict[str, Any]:
    """Expire by ``policy``, or by what the description says; see :func:`.retention.expiry.expire`."""
    repository = local_repository(config, f"expire backups of cluster {config.cluster}")
    progress = Progress(None if check else f"{config.state_directory}/progress.json", "expire")
    progress.phase("expire", unit="files")
    with progress.ending():
        return expire(
            repository,
            policy or config.retention,
            config.bin_directory,
            dumps=dumps or config.dump_retention,
            live=live_position(config),
            check=check,
            progress=_telling(progress),
        )


def expire_there(
    root: str,
    cluster: str,
    policy: Policy | None,
    bin_directory: str | None,
    *,
    dumps: DumpPolicy | None = None,
    check: bool = False,
) -> dict[str, Any]:
    """On the repository's host: no description, no cluster, as the repository's owner."""
    repository = Repository(root, cluster)
    repository.require(f"expire backups of cluster {cluster}")
    assume(owner_of(repository.path))
    # Programs are needed for WAL that the index does not know; that there are none is said then.
    return expire(repository, policy, bin_directory or "/nonexistent", dumps=dumps, check=check)


def policy_of(
    full_count: int | None, window: str | None, wal: str | None, described: Policy | None
) -> Policy | None:
    """What was described, with what was said: durations such as ``14d``, ``none`` for no such rule.

    Raises :class:`Refused` ``duration-malformed``, ``retention-invalid``.
    """
    said: dict[str, Any] = {} if full_count is None else {"full_count": full_count}
    for name, text in (("window_seconds", window), ("wal_seconds", wal)):
        if text is not None:
            seconds = (
                None if text == "none" else parse_duration(text, attempted=f"understand how long: {text}")
            )
            said[name] = seconds
    return replace(described or Policy(), **said) if said else described


def dump_policy_of(dumps: str | None, schemas: str | None, described: DumpPolicy | None) -> DumpPolicy | None:
    """What was described, with what was said: ``daily=7,weekly=4,monthly=3,yearly=0,count=0,age=30d,minimum=1``.

    What is not named in a text is 0, ``minimum`` is 1. Raises :class:`Refused` ``retention-invalid``,
    ``duration-malformed``.
    """
    if dumps is None and schemas is None:
        return described
    base = described or DumpPolicy(Generations(), None)
    return DumpPolicy(
        base.dumps if dumps is None else _generations(dumps),
        base.schemas if schemas is None else _generations(schemas),
    )


def _generations(text: str) -> Generations:
    said: dict[str, Any] = {"daily": 0, "weekly": 0, "monthly": 0, "yearly": 0}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _dummy, value = item.partition("=")
        if name == "age":
            said["age_seconds"] = parse_duration(value, attempted=f"understand {item}")
        elif name in Generations.names() and value.isdigit():
            said[name] = int(value)
        else:
            raise Refused(
                "retention-invalid",
                attempted="understand which dumps are to be kept",
                happened=f"{item!r} is no rule",
                remedy="Write it like daily=7,weekly=4,monthly=3,yearly=0,count=0,age=30d,minimum=1.",
            )
    return Generations(**said)


def _telling(progress: Progress) -> Callable[[int, int], None]:
    return lambda done, total: progress.update(done, total=total)


def live_position(config: ClusterConfig) -> tuple[int, int] | None:
    """System identifier and timeline of the data directory; None where there is none that can be read."""
    try:
        control = read_control_data(config.bin_directory, config.data_directory)
    except KeeperError:
        return None
    return control.system_id, control.timeline
