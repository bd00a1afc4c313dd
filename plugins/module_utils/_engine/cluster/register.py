# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Making a cluster known to the host command: its description, its state directory, its repository.

Done by root, because the description belongs to root: the cluster's owner may read it, not change it.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..core.errors import Refused
from ..core.files import make_directory, read_json, write_json
from ..core.privilege import assume, owner_of, started_as_root
from ..repository.layout import Repository
from ..repository.place import host_and_directory
from .config import ClusterConfig
from .identity import keep_key, key_steps, public_key

_DESCRIPTION_MODE = 0o640
_DIRECTORY_MODE = 0o750


@dataclass(frozen=True)
class Node:
    """A file or directory with who may use it."""

    path: str
    uid: int | None
    gid: int | None
    mode: int

    def fits(self) -> bool:
        """Whether it is there as wanted."""
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return False
        return stat.S_IMODE(found.st_mode) == self.mode and (
            self.uid is None or (found.st_uid, found.st_gid) == (self.uid, self.gid)
        )

    def apply(self) -> None:
        """Give it to whom it belongs."""
        if self.uid is not None and self.gid is not None:
            os.chown(self.path, self.uid, self.gid)
        os.chmod(self.path, self.mode)


def register(description: Mapping[str, Any], path: str, *, user: str, check: bool) -> dict[str, Any]:
    """Bring description, directories and repository into being; empty plan when all is there.

    ``user`` is the operating system user that owns the cluster. Raises what :meth:`ClusterConfig.from_dict`
    and :meth:`Repository.create` raise, and :class:`Refused` ``user-unknown``, ``repository-elsewhere``.
    """
    config = ClusterConfig.from_dict(description, source=path)
    _copies_are_made(config)
    before = _described(path)
    uid, gid = _ids(user, check)
    root = 0 if uid is not None else None
    file = Node(path, root, gid, _DESCRIPTION_MODE)
    directories = [
        Node(os.path.dirname(path), root, gid, _DIRECTORY_MODE),
        Node(config.state_directory, uid, gid, _DIRECTORY_MODE),
    ]
    # One elsewhere is made by whoever lets this host in (admission.py).
    repository = None if config.repository_is_elsewhere else Repository(config.repository, config.cluster)
    if repository:
        directories.append(Node(config.repository, uid, gid, _DIRECTORY_MODE))
    plan = [f"make directory {node.path}" for node in directories if not node.fits()]
    if before != description or not file.fits():
        plan.append(f"write {path}")
    if config.ssh:
        plan += key_steps(config.ssh.identity_file, uid)
    if repository and not repository.exists():
        plan.append(f"make repository {repository.path}")
    if plan and not check:
        for node in directories:
            make_directory(node.path, 0o755)
            node.apply()
        write_json(path, description, _DESCRIPTION_MODE)
        file.apply()
        if config.ssh:
            comment = f"dbkeeper:{config.cluster}"
            keep_key(config.ssh.identity_file, uid=uid, gid=gid, comment=comment)
        if uid is not None:
            assume(owner_of(config.state_directory))
        if repository:
            repository.create()
    return {
        "changed": bool(plan),
        "executed": bool(plan) and not check,
        "plan": plan,
        "public_key": public_key(config.ssh.identity_file) if config.ssh else "",
        "diff": {"before": before, "after": dict(description), "before_header": path, "after_header": path},
    }


def _copies_are_made(config: ClusterConfig) -> None:
    """A copy is made where the repository lies. From here a required one would get WAL, and never a backup to replay it
    on: nobody should find that out when it is needed. What was described so before works on as it did."""
    if not (config.repository_is_elsewhere and config.copies):
        return
    host, directory = host_and_directory(config.repository)
    names = ", ".join(wish.name for wish in config.copies)
    raise Refused(
        "repository-elsewhere",
        attempted=f"describe the copies of cluster {config.cluster}: {names}",
        happened=f"the repository is {config.repository}, and copies are made where it lies; from here a copy would "
        "get WAL at most, and neither backups nor dumps",
        remedy=f"Describe them for {host}, where {directory} is: backup_repository_copies of the backup role instead "
        "of backup_copies (docs/repository-elsewhere.md).",
        details={"copies": [wish.name for wish in config.copies], "host": host, "directory": directory},
    )


def _described(path: str) -> dict[str, Any]:
    try:
        value = read_json(path, attempted="read the cluster's description")
    except FileNotFoundError:
        return {}
    return value if isinstance(value, dict) else {}


def _ids(user: str, check: bool) -> tuple[int | None, int | None]:
    """The user's numbers; None when they play no part: not root, or the user is still to come (check
    mode)."""
    if not started_as_root():
        return None, None
    try:
        entry = pwd.getpwnam(user)
    except KeyError as error:
        if check:
            return None, None
        raise Refused(
            "user-unknown",
            attempted="make a cluster known to the host command",
            happened=f"there is no operating system user {user}",
            remedy="Install PostgreSQL first (role dbkeeper.ops.postgresql), or name the cluster's owner.",
        ) from error
    return entry.pw_uid, entry.pw_gid
