# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The key with which a host comes to a repository elsewhere: made here, and never leaving this host."""

from __future__ import annotations

import os
import stat
import tempfile

from ..core.files import make_directory, rename_durable
from ..core.run import run

_MODE = 0o600


def key_steps(path: str, uid: int | None) -> list[str]:
    """What :func:`keep_key` would do, in words; empty when the key is there and is its owner's alone."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return [f"make key {path}"]
    fits = stat.S_IMODE(found.st_mode) == _MODE and uid in (None, found.st_uid)
    return [] if fits else [f"give key {path} to its owner alone"]


def keep_key(path: str, *, uid: int | None, gid: int | None, comment: str) -> None:
    """Make an ed25519 key where there is none; it belongs to ``uid`` alone. One that is there stays.

    Raises :class:`Failed` (``program-missing``, ``program-failed``) of ssh-keygen.
    """
    directory = os.path.dirname(path)
    make_directory(directory, 0o755)
    if not os.path.exists(path):
        with tempfile.TemporaryDirectory(prefix=".tmp-", dir=directory) as scratch:
            # Below a directory that only we can enter, until it is its owner's.
            made = f"{scratch}/key"
            run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", made],
                attempted="make a key for the repository's host",
                remedy="Install openssh-client, which has ssh-keygen.",
            )
            _give(made, uid, gid)
            os.chmod(f"{made}.pub", 0o644)
            rename_durable(f"{made}.pub", f"{path}.pub")
            rename_durable(made, path)
    _give(path, uid, gid)


def public_key(path: str) -> str:
    """Type and key, without the comment; empty when there is no key yet."""
    if not os.path.exists(path):
        return ""
    # Asked of the key itself: a .pub file beside it may be of another one.
    done = run(["ssh-keygen", "-y", "-f", path], attempted=f"read the public half of {path}")
    return " ".join(done.out.split()[:2])


def _give(path: str, uid: int | None, gid: int | None) -> None:
    if uid is not None and gid is not None:
        os.chown(path, uid, gid)
    os.chmod(path, _MODE)
