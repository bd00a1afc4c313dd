# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Tablespaces of a data directory, and the file systems that things lie on."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import Any

from ..core.errors import Failed


@dataclass(frozen=True)
class Location:
    """A tablespace as the data directory knows it: ``pg_tblspc/<oid>`` points to ``path``.

    ``in_place`` is a tablespace that lies inside the data directory (a developer's setting; no link).
    """

    oid: int
    path: str
    in_place: bool = False


@dataclass(frozen=True)
class FileSystem:
    """The file system below a path that is or will be: ``path`` is the nearest directory that exists.

    ``free_bytes`` and ``free_inodes`` are what an ordinary user may still take; a file system without a fixed
    number of inodes says None.
    """

    path: str
    device: int
    free_bytes: int
    total_bytes: int
    free_inodes: int | None

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "path": self.path,
            "device": self.device,
            "free_bytes": self.free_bytes,
            "total_bytes": self.total_bytes,
            "free_inodes": self.free_inodes,
        }


def tablespaces(data_directory: str) -> tuple[Location, ...]:
    """The tablespaces beside the two that every cluster has, by oid.

    Raises :class:`Failed` (``tablespace-unreadable``).
    """
    directory = f"{data_directory}/pg_tblspc"
    try:
        names = sorted((name for name in os.listdir(directory) if name.isdigit()), key=int)
        found = [_location(directory, name) for name in names]
        return tuple(location for location in found if location is not None)
    except OSError as error:
        raise Failed(
            "tablespace-unreadable",
            attempted=f"find the tablespaces of {data_directory}",
            happened=f"{error.filename}: {error.strerror}",
            remedy="Run the command as root or as the owner of the data directory.",
        ) from error


def _location(directory: str, name: str) -> Location | None:
    """None for one that was dropped since it was listed."""
    path = f"{directory}/{name}"
    try:
        return Location(int(name), os.path.join(directory, os.readlink(path)))
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # No link: a directory.
        return Location(int(name), path, in_place=True)


def nearest_existing(path: str) -> str:
    """``path`` itself, or the nearest directory above it that is there: in which it would be made."""
    nearest = os.path.abspath(path)
    while not os.path.lexists(nearest):
        nearest = os.path.dirname(nearest)
    return nearest


def file_system(path: str) -> FileSystem:
    """What ``path`` lies on, or would lie on if it were made. Raises :class:`Failed` (``disk-unreadable``)."""
    nearest = nearest_existing(path)
    try:
        try:
            facts, device = os.statvfs(nearest), os.stat(nearest).st_dev
        except FileNotFoundError:
            # Removed or renamed since: another one above is the nearest now.
            nearest = nearest_existing(os.path.dirname(nearest))
            facts, device = os.statvfs(nearest), os.stat(nearest).st_dev
    except OSError as error:
        raise Failed(
            "disk-unreadable",
            attempted=f"see how much space {path} has",
            happened=f"{nearest}: {error.strerror}",
            remedy="Mend the mount, or give the cluster's owner access.",
        ) from error
    return FileSystem(
        path=nearest,
        device=device,
        free_bytes=facts.f_bavail * facts.f_frsize,
        total_bytes=facts.f_blocks * facts.f_frsize,
        free_inodes=facts.f_favail if facts.f_files else None,
    )
