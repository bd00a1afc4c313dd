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
#: So many files of other content are kept aside in a directory, and no more: two servers that both archive a timeline,
#: or somebody with a stolen key, could fill the disk (fault E06).
MOST_KEPT_ASIDE = 16
CONFLICT_PREFIX = ".conflict-"
MARKER = "repository.json"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .remote.feed import RemoteFeed


class Repository:
    """The repository of one cluster: ``<root>/<cluster>/``. Knows paths; reads nothing but its marker."""

    __slots__ = ("cluster", "path", "root")

    #: Whether it is reached by ssh (remote/client.py); paths below it are then for people to read.
    elsewhere = False

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

    def has_wal(self, system_id: int | str, wanted: Sequence[str]) -> set[str]:
        """Which of these segments are stored, packed or plain. Raises OSError, where that cannot be told."""
        found = set()
        for name in wanted:
            path = f"{self.wal(system_id)}/{name[:8]}/{name}"
            if os.path.exists(f"{path}.zst") or os.path.exists(path):
                found.add(name)
        return found

    def conflicts(self, system_id: int | str) -> list[str]:
        """Paths of files that were kept aside because their name was already archived with other content."""
        found = []
        for directory, _dummy, names in os.walk(self.wal(system_id)):
            found += [os.path.join(directory, name) for name in names if name.startswith(CONFLICT_PREFIX)]
        return sorted(found)

    @staticmethod
    def room_aside(directory: str) -> bool:
        """Whether one more file may be kept aside there."""
        kept = sum(name.startswith(CONFLICT_PREFIX) for name in os.listdir(directory))
        return kept < MOST_KEPT_ASIDE

    def dump_texts(self) -> list[tuple[str, bytes | OSError]]:
        """See :func:`.dumps.entry_texts`."""
        from .dumps import entry_texts

        return list(entry_texts(self))

    def take_timeline(self, system_id: int | str, timeline: int, holder: str) -> bool:
        """See :func:`.timelines.take_number`."""
        from .timelines import take_number

        return take_number(self, system_id, timeline, holder)

    def owner_alive(self, owner: dict[str, Any]) -> bool:
        """Whether who wrote a record still lives; see :func:`core.locks.owner_alive`."""
        from ..core.locks import owner_alive

        return owner_alive(owner)

    # -- documents: the entry of each backup (``base``), leases, evidence ------------------------------

    def document_path(self, kind: str, name: str) -> str:
        """Where a document lies."""
        return f"{self.backup(name)}/backup.json" if kind == "base" else f"{self.path}/{kind}/{name}.json"

    def documents(self, kind: str) -> dict[str, bytes | OSError]:
        """All documents of a kind by name, in order, or why one cannot be read. Raises OSError for the directory."""
        found: dict[str, bytes | OSError] = {}
        for entry in sorted(os.listdir(f"{self.path}/{kind}")):
            if entry.startswith("."):
                continue
            if kind == "base":
                name = entry if os.path.isdir(f"{self.base}/{entry}") else ""
            else:
                name = entry[: -len(".json")] if entry.endswith(".json") else ""
            if not name:
                continue
            try:
                found[name] = self.document(kind, name)
            except FileNotFoundError as error:
                # Released or expired while we looked: gone is gone. A backup's directory without its entry is not.
                if kind == "base" and os.path.isdir(self.backup(name)):
                    found[name] = error
            except OSError as error:
                found[name] = error
        return found

    def document(self, kind: str, name: str) -> bytes:
        """One document. Raises OSError."""
        with open(self.document_path(kind, name), "rb") as handle:
            return handle.read()

    def space(self) -> dict[str, Any]:
        """``free_bytes``, ``total_bytes``, ``free_inodes`` (None: no limit). Raises OSError."""
        facts = os.statvfs(self.base)
        return {
            "free_bytes": facts.f_bavail * facts.f_frsize,
            "total_bytes": facts.f_blocks * facts.f_frsize,
            "free_inodes": facts.f_favail if facts.f_files else None,
        }

    def writable(self) -> bool:
        """Whether we may add backups."""
        return os.access(self.base, os.W_OK | os.X_OK)

    def keep(self, kind: str, name: str, value: dict[str, Any]) -> str:
        """Write a lease or a record of evidence durably; where it is. Raises OSError."""
        from ..core.files import make_directory, write_json

        path = self.document_path(kind, name)
        make_directory(os.path.dirname(path))
        write_json(path, value)
        return path

    def release(self, name: str) -> None:
        """Remove a lease; no effect when it is not there."""
        from ..core.files import fsync_directory

        try:
            os.unlink(self.document_path("leases", name))
        except FileNotFoundError:
            return
        fsync_directory(self.leases)

    def stored_sizes(self, label: str) -> dict[str, int]:
        """The files of a backup beside its entry, with their lengths. Raises OSError."""
        directory = self.backup(label)
        names = (name for name in os.listdir(directory) if not name.startswith(".") and name != "backup.json")
        found = {}
        for name in names:
            # Opened, not only looked at: one that may not be read must be known before anything begins.
            with open(f"{directory}/{name}", "rb", buffering=0) as handle:
                found[name] = os.fstat(handle.fileno()).st_size
        return found

    def stored_bytes(self, label: str, name: str) -> bytes:
        """The whole of a small file of a backup. Raises OSError."""
        with open(f"{self.backup(label)}/{name}", "rb") as handle:
            return handle.read()

    def feed(self, label: str, name: str) -> RemoteFeed | None:
        """Where the bytes of a stored archive come from when no file here has them; None: from the file."""
        return None

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
