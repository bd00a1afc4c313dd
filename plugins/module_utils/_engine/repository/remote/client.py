# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A repository elsewhere, seen from here: the same questions as to a local one, asked at its door.

The WAL index lives where the proof runs, in the state directory; it is told by the signatures of the listing when a
stored file has changed.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import Any

from ...core.errors import KeeperError
from ..layout import Repository
from .feed import RemoteFeed
from .line import Line
from .ssh import Way


class RemoteRepository(Repository):
    """The repository of one cluster on another host. ``path`` and what lies below it are for people to read."""

    __slots__ = ("line", "state_directory")

    elsewhere = True

    def __init__(self, way: Way, cluster: str) -> None:
        super().__init__("/", cluster)
        self.root = way.url.rstrip("/")
        self.path = f"{self.root}/{cluster}"
        self.line = Line(way, cluster)
        self.state_directory = way.state_directory

    def index(self, system_id: int | str) -> str:
        """The WAL index of this host."""
        return f"{self.state_directory}/index/{system_id}"

    def lock(self, name: str) -> str:
        """A lock of this host; the door has its own."""
        return f"{self.state_directory}/repository-{name}.lock"

    def require(self, attempted: str) -> None:
        """The door must be open and have a repository; see :meth:`Repository.require`."""
        self.line.ask("space", attempted=attempted)

    def exists(self) -> bool:
        """Whether the marker is there. Raises KeeperError when nobody can say."""
        try:
            self.require("see whether there is a repository")
        except KeeperError as error:
            if error.code == "repository-missing":
                return False
            raise
        return True

    def create(self) -> bool:
        """It is made on its own host; here it can only be missed."""
        self.require(f"use the repository {self.path}")
        return False

    def space(self) -> dict[str, Any]:
        """``free_bytes``, ``total_bytes``, ``free_inodes`` (None: no limit), ``writable`` for this key."""
        return self.line.ask("space", attempted=f"see how much space {self.path} has")

    def writable(self) -> bool:
        """See :meth:`Repository.writable`: a matter of the key, too."""
        return bool(self.space()["writable"])

    def system_ids(self) -> list[int]:
        """See :meth:`Repository.system_ids`."""
        answer = self.line.ask("wal-systems", attempted="list the archives")
        return [int(one) for one in answer["ids"]]

    def has_wal(self, system_id: int | str, wanted: Sequence[str]) -> set[str]:
        """See :meth:`Repository.has_wal`."""
        found: set[str] = set()
        for begin in range(0, len(wanted), 5000):
            part = list(wanted[begin : begin + 5000])
            attempted = "see which segments are stored"
            answer = self.line.ask("wal-has", attempted=attempted, system_id=str(system_id), names=part)
            found.update(answer["names"])
        return found

    def conflicts(self, system_id: int | str) -> list[str]:
        """See :meth:`Repository.conflicts`."""
        attempted = "list what was kept aside"
        return list(self.line.ask("conflicts", attempted=attempted, system_id=str(system_id))["paths"])

    def leftovers(self, system_id: int | None) -> list[dict[str, Any]] | None:
        """See :func:`..leftovers.leftovers`."""
        about: dict[str, Any] = {} if system_id is None else {"system_id": str(system_id)}
        attempted = "look for files that nobody uses"
        try:
            _answer, pieces, _end = self.line.collect("leftovers", attempted=attempted, **about)
        except KeeperError as error:
            if error.code == "door-refused":
                # One of an older release does not know the word.
                return None
            raise
        return [json.loads(line) for line in b"".join(pieces).splitlines()]

    def take_timeline(self, system_id: int | str, timeline: int, holder: str) -> bool:
        """See :func:`.timelines.take_number`."""
        answer = self.line.ask(
            "timeline-take",
            attempted=f"reserve the number of timeline {timeline}",
            system_id=str(system_id),
            timeline=timeline,
            holder=holder,
        )
        return bool(answer["taken"])

    def owner_alive(self, owner: dict[str, Any]) -> bool:
        """A record of a door is judged there, any other here."""
        if "door" not in owner:
            return super().owner_alive(owner)
        return bool(self.line.ask("alive", attempted="see who is at work", owner=owner)["alive"])

    def documents(self, kind: str) -> dict[str, bytes | OSError]:
        """See :meth:`Repository.documents`."""
        answer, texts, _end = self.line.collect("list", attempted=f"list {kind}", kind=kind)
        found: dict[str, bytes | OSError] = dict(zip(answer["names"], texts))
        found.update((name, OSError(text)) for name, text in answer["broken"].items())
        return dict(sorted(found.items()))

    def document(self, kind: str, name: str) -> bytes:
        """See :meth:`Repository.document`."""
        answer = self.line.ask("document", attempted=f"read {kind} {name}", kind=kind, name=name)
        if answer["text"] is not None:
            return str(answer["text"]).encode()
        path = self.document_path(kind, name)
        if answer.get("directory"):
            raise OSError(f"{path} is not there")
        raise FileNotFoundError(2, "it is not there", path)

    def dump_texts(self) -> list[tuple[str, bytes | OSError]]:
        """See :func:`..dumps.entry_texts`."""
        _answer, pieces, _end = self.line.collect("dump-list", attempted="list the dumps")
        found: list[tuple[str, bytes | OSError]] = []
        for line in b"".join(pieces).splitlines():
            item = json.loads(line)
            fault = item.get("fault")
            found.append((str(item["key"]), OSError(5, str(fault)) if fault else str(item["text"]).encode()))
        return found

    def keep(self, kind: str, name: str, value: dict[str, Any]) -> str:
        """See :meth:`Repository.keep`; the door knows leases and evidence."""
        if kind == "leases":
            self.line.ask("lease-take", attempted=f"take the lease {name}", id=name, lease=value)
            return self.document_path(kind, name)
        answer = self.line.ask("evidence-put", attempted=f"keep the evidence {name}", id=name, record=value)
        return str(answer["path"])

    def release(self, name: str) -> None:
        """See :meth:`Repository.release`."""
        self.line.ask("lease-release", attempted=f"release the lease {name}", id=name)

    def stored_sizes(self, label: str) -> dict[str, int]:
        """See :meth:`Repository.stored_sizes`."""
        attempted = f"list the files of backup {label}"
        return dict(self.line.ask("backup-files", attempted=attempted, label=label)["files"])

    def stored_bytes(self, label: str, name: str) -> bytes:
        """See :meth:`Repository.stored_bytes`."""
        attempted = f"read {name} of backup {label}"
        _answer, parts, end = self.line.collect("backup-get", attempted=attempted, label=label, name=name)
        if end.get("fault"):
            raise OSError(5, str(end["fault"]), name)
        return b"".join(parts)

    def feed(self, label: str, name: str) -> RemoteFeed:
        """See :meth:`Repository.feed`."""
        return RemoteFeed(self, label, name)


_known: dict[tuple[str, ...], RemoteRepository] = {}
_knowing = threading.Lock()


def remote_repository(url: str, cluster: str, ssh: dict[str, Any], state_directory: str) -> RemoteRepository:
    """One for each process, so that all its parts talk through one ssh."""
    key = (url, cluster, str(ssh.get("identity_file")), str(ssh.get("known_hosts_file")), state_directory)
    with _knowing:
        if key not in _known:
            _known[key] = RemoteRepository(Way(url, ssh, state_directory), cluster)
        return _known[key]
