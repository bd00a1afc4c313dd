# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Working as the cluster's owner although started by root.

A restore needs root for one thing only: telling the service manager to stop and start. So the process
takes on the owner's effective identity at once (files it makes belong to the owner, and it may do no more
than the owner may), and goes back to root just around the programs that need it.
"""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Owner:
    """An operating system user with all groups."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]


_assumed: list[Owner] = []


def owner_of(path: str) -> Owner:
    """Who owns ``path``. Raises OSError when it is not there, KeyError when the user is unknown."""
    entry = pwd.getpwuid(os.stat(path).st_uid)
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return Owner(entry.pw_name, entry.pw_uid, entry.pw_gid, groups)


def started_as_root() -> bool:
    """Whether root's powers can be had back."""
    return os.getuid() == 0


def assume(owner: Owner) -> None:
    """Take on the owner's effective identity; no effect unless started as root."""
    if not started_as_root() or owner.uid == 0:
        return
    os.seteuid(0)
    os.setgroups(list(owner.groups))
    os.setegid(owner.gid)
    os.seteuid(owner.uid)
    _assumed[:] = [owner]


def real_owner() -> Owner | None:
    """The owner taken on, for programs that insist on equal real and effective users (PostgreSQL's do)."""
    return _assumed[0] if _assumed else None


@contextlib.contextmanager
def as_root(when: bool = True) -> Iterator[None]:
    """Root's powers for a few lines, where they can be had; otherwise no effect."""
    if not when or not _assumed or not started_as_root():
        yield
        return
    owner = _assumed[0]
    os.seteuid(0)
    os.setegid(0)
    os.setgroups([0])
    try:
        yield
    finally:
        os.setgroups(list(owner.groups))
        os.setegid(owner.gid)
        os.seteuid(owner.uid)


def current_user() -> str:
    """The name of the effective user."""
    return pwd.getpwuid(os.geteuid()).pw_name
