# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Where everything lies in a repository, and the marker that tells a repository from an empty mount point.

The marker (``repository.json``) is the difference between "nothing archived yet" and "the disk is not
mounted" (fault B09): without it nothing is written and nothing is believed to be absent.
"""

from __future__ import annotations

import os

from ..core.errors import Failed, Refused

FORMAT = 1
MARKER = "repository.json"


class Repository:
    """The repository of one cluster: ``<root>/<cluster>/``. Knows paths; reads nothing but its marker."""

    __slots__ = ("cluster", "path", "root")

    def __init__(self, root: str, cluster: str) -> None:
        self.root = os.path.abspath(root)
        self.cluster = cluster
        self.path = os.path.join(self.root, cluster)

    @property
    def marker(self) -> str:
        """The file that makes a directory a repository."""
        return f"{self.path}/{MARKER}"

    @property
    def base(self) -> str:
        """The directory of all base backups."""
        return f"{self.path}/base"

    @property
    def evidence(self) -> str:
        """One JSON file for each restore and drill."""
        return f"{self.path}/evidence"

    @property
    def leases(self) -> str:
        """One JSON file for each promise that something is not expired."""
        return f"{self.path}/leases"

    def backup(self, label: str) -> str:
        """The directory of one base backup."""
        return f"{self.base}/{label}"

    def wal(self, system_id: int | str) -> str:
        """The archive of one system identifier: its history files and a directory for each timeline."""
        return f"{self.path}/wal/{system_id}"

    def timeline(self, system_id: int | str, timeline: int) -> str:
        """The directory of one timeline's segments."""
        return f"{self.wal(system_id)}/{timeline:08X}"

    def history(self, system_id: int | str, timeline: int) -> str:
        """The history file of a timeline."""
        return f"{self.wal(system_id)}/{timeline:08X}.history"

    def timelines(self, system_id: int | str) -> str:
        """One JSON file for each timeline that a restore has reserved the number of."""
        return f"{self.path}/timelines/{system_id}"

    def index(self, system_id: int | str) -> str:
        """The directory of the WAL index; can be rebuilt from the archive."""
        return f"{self.path}/index/{system_id}"

    def receive(self, system_id: int | str) -> str:
        """Where ``dbkeeper receive`` writes what it streams; what is finished moves on into the archive."""
        return f"{self.path}/receive/{system_id}"

    def lock(self, name: str) -> str:
        """A lock file for one kind of work on this repository."""
        return f"{self.path}/{name}.lock"

    def system_ids(self) -> list[int]:
        """The system identifiers that have an archive here, in order."""
        try:
            names = os.listdir(f"{self.path}/wal")
        except FileNotFoundError:
            return []
        return sorted(int(name) for name in names if name.isdigit())

    def exists(self) -> bool:
        """Whether the marker is there; OSError when that cannot be told (stale mount, no permission)."""
        try:
            os.stat(self.marker)
        except FileNotFoundError:
            return False
        return True

    def require(self, attempted: str) -> None:
        """The marker must be there and of a format we know.

        Raises :class:`Refused` ``repository-missing`` (not mounted, or never made; fault B09),
        ``repository-format`` (made by a newer version), :class:`Failed` ``repository-unreadable``.
        """
        try:
            with open(self.marker, "rb") as handle:
                text = handle.read()
        except FileNotFoundError as error:
            raise Refused(
                "repository-missing",
                attempted=attempted,
                happened=f"{self.marker} is not there: the repository is not mounted, or was never made",
                remedy=f"Mount the file system of {self.root}; a new repository is made by the backup role.",
                details={"repository": self.path},
            ) from error
        except OSError as error:
            raise Failed(
                "repository-unreadable",
                attempted=attempted,
                happened=f"{self.marker} cannot be read: {error.strerror}",
                remedy=f"Give the cluster's owner access to {self.path}, or mend its mount.",
                details={"repository": self.path},
            ) from error
        if not text.startswith(b'{"format":1,') and _format_of(text) != FORMAT:
            raise Refused(
                "repository-format",
                attempted=attempted,
                happened=f"{self.marker} is not of format {FORMAT}",
                remedy="Use the dbkeeper that made the repository, or bring the marker back from a copy.",
                details={"repository": self.path},
            )

    def create(self) -> bool:
        """Make what is missing, durably. True when the repository was not there before.

        Raises :class:`Failed` ``repository-not-writable``.
        """
        import json

        from ..core.files import make_directory, write_durable

        try:
            for directory in (
                self.base,
                f"{self.path}/wal",
                f"{self.path}/index",
                self.evidence,
                self.leases,
            ):
                make_directory(directory)
            if self.exists():
                return False
            # Last, so that a repository with a marker is whole; in the form require() knows at a glance.
            name = json.dumps(self.cluster)
            write_durable(self.marker, f'{{"format":{FORMAT},"cluster":{name}}}\n'.encode())
        except OSError as error:
            raise Failed(
                "repository-not-writable",
                attempted=f"make the repository {self.path}",
                happened=f"{error.filename or self.path}: {error.strerror}",
                remedy=f"Let the cluster's owner write below {self.root}; see that it has space.",
                details={"repository": self.path},
            ) from error
        return True


def _format_of(text: bytes) -> object:
    import json

    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value.get("format") if isinstance(value, dict) else None
