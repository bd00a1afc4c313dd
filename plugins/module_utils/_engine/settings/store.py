# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What we know of our own files: what we wrote, and the text with which a server has last been seen to work."""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass
from typing import Any

from ..cluster.config import ClusterConfig
from ..core.files import make_directory, read_json, write_json
from ..core.privilege import as_root, real_owner

_MODE = 0o600


@dataclass(frozen=True)
class Known:
    """A file of ours: its digest as it was written, and the version that a server has worked with (or None)."""

    role: str
    digest: str
    proven: str | None
    mode: int


def make_state_directory(config: ClusterConfig) -> None:
    """The cluster's own place for locks and journals; root makes it where only root can."""
    if os.path.isdir(config.state_directory):
        return
    owner = real_owner()
    with as_root(when=owner is not None):
        make_directory(config.state_directory, 0o755)
        if owner is not None:
            os.chown(config.state_directory, owner.uid, owner.gid)
        os.chmod(config.state_directory, 0o750)


def store_path(config: ClusterConfig) -> str:
    """Where it is kept."""
    return f"{config.state_directory}/configuration.json"


def load(config: ClusterConfig) -> dict[str, Known]:
    """What is known, by path. Raises :class:`Failed` (``file-damaged``)."""
    try:
        data = read_json(store_path(config), attempted="read what is known of the configuration")
    except FileNotFoundError:
        return {}
    return {
        path: Known(entry["role"], entry["digest"], unpacked(entry["proven"]), entry["mode"])
        for path, entry in data["files"].items()
    }


def save(config: ClusterConfig, known: dict[str, Known]) -> None:
    """Remember it durably; no change when nothing is new."""
    if known == load(config):
        return
    files: dict[str, Any] = {
        path: {
            "role": entry.role,
            "digest": entry.digest,
            "proven": packed(entry.proven),
            "mode": entry.mode,
        }
        for path, entry in known.items()
    }
    write_json(store_path(config), {"format": 1, "files": files}, _MODE)


def digest_of(text: str) -> str:
    """SHA-256 of a file's bytes, in hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def packed(text: str | None) -> str | None:
    """A text of any encoding as JSON can hold it."""
    return None if text is None else base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()


def unpacked(data: str | None) -> str | None:
    """Back from :func:`packed`."""
    return None if data is None else base64.b64decode(data).decode("utf-8", "surrogateescape")
