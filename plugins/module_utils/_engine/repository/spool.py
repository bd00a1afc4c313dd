# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The spool between archive and recovery: proven segments, one rename away from the server.

It lies on the file system of the staged cluster. ``ready/`` holds whole segments whose identity is the plan's;
a name appears there by rename only, so whoever finds one may take it. ``work/`` holds what is being written
and is worth nothing after a kill. Nothing here is fsynced: a spool of another boot is thrown away.
"""

from __future__ import annotations

import fcntl
import json
import os
from typing import Any

from ..core.errors import Failed
from ..wal.segment import parse_segment

_BOOT_ID = "/proc/sys/kernel/random/boot_id"


class GetPlan:
    """The part of a restore plan that archive-get lives by; see :func:`load_plan`."""

    __slots__ = (
        "cluster",
        "digests",
        "histories",
        "history_digests",
        "holder",
        "names",
        "newest_timeline",
        "partials",
        "path",
        "plan_id",
        "positions",
        "prefetch",
        "repository",
        "segment_size",
        "seen",
        "spool",
        "ssh",
        "state_directory",
        "system_id",
        "taken",
    )

    def __init__(self, path: str, value: dict[str, Any], seen: os.stat_result | None = None) -> None:
        """``seen``: the file that it was read from."""
        self.path = path
        self.seen = seen
        self.plan_id = str(value["plan_id"])
        self.repository = str(value["repository"])
        self.cluster = str(value["cluster"])
        self.system_id = int(value["system_id"])
        self.segment_size = int(value["wal_segment_size"])
        self.names = [str(name) for name, _dummy in value["segments"]]
        #: Identities of their contents, of any kind of :mod:`..wal.content`; format 1 knew those of plain bytes only.
        self.digests = [str(digest) for _dummy, digest in value["segments"]]
        self.positions = {name: position for position, name in enumerate(self.names)}
        self.histories = frozenset(value["histories"])
        self.history_digests = {str(name): str(one) for name, one in value.get("history_digests", {}).items()}
        #: Segments that are stored as .partial only, to be handed out under their real names (B15).
        self.partials = frozenset(str(name) for name in value.get("partials", ()))
        #: Timelines that the archive has seen, also those whose history it has lost.
        self.taken = frozenset(int(number) for number in value.get("taken", ()))
        #: For whom the new timeline's number is reserved; None: whoever promotes this copy writes to no archive.
        self.holder = value.get("holder")
        self.spool = str(value["spool"])
        self.prefetch = int(value["prefetch"])
        #: How a repository elsewhere is reached.
        self.ssh: dict[str, Any] = dict(value.get("ssh") or {})
        self.state_directory = str(value.get("state_directory", ""))
        if value["format"] not in (1, 2) or not self.names or len(self.positions) != len(self.names):
            raise ValueError("it is of another format, or its segments are none or not distinct")
        timelines = [int(name[:8], 16) for name in self.names]
        self.newest_timeline = max([*timelines, int(value.get("timeline", 0))])

    def number(self, name: str) -> int:
        """The number of a segment's name. Raises KeeperError for a name of another segment size."""
        return parse_segment(name, self.segment_size).number


def load_plan(path: str) -> GetPlan:
    """Read the plan file. Raises :class:`Failed` ``plan-unreadable``."""
    try:
        with open(path, "rb") as handle:
            return GetPlan(path, json.loads(handle.read()), os.fstat(handle.fileno()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Failed(
            "plan-unreadable",
            attempted="answer the server's restore_command",
            happened=f"{path}: {type(error).__name__}: {error}",
            remedy="Run the restore again: it writes the plan anew.",
            details={"plan": path},
        ) from error


class Spool:
    """The directories and the small files through which archive-get and its prefetcher speak."""

    def __init__(self, directory: str, plan_id: str) -> None:
        self.directory = directory
        self.ready_directory = f"{directory}/ready"
        self.work_directory = f"{directory}/work"
        self.fault_path = f"{directory}/fault.json"
        self.lock_path = f"{directory}/prefetch.lock"
        self._owner_path = f"{directory}/owner"
        self.wanted_path = f"{directory}/wanted"
        self._plan_id = plan_id

    def ready(self, name: str) -> str:
        """Where a proven segment lies."""
        return f"{self.ready_directory}/{name}"

    def work(self, name: str) -> str:
        """Where the prefetcher is writing a segment."""
        return f"{self.work_directory}/{name}"

    def begun(self, name: str) -> str:
        """The mark that the prefetcher is fetching a segment: there before its first byte is."""
        return f"{self.work_directory}/{name}.begun"

    def prepare(self) -> None:
        """Make the spool ours: what another plan or another boot left in it is thrown away."""
        owner = f"{self._plan_id} {_boot_id()}"
        if _read(self._owner_path) == owner:
            return
        for directory in (self.ready_directory, self.work_directory):
            os.makedirs(directory, 0o700, exist_ok=True)
            _empty(directory)
        _remove(self.wanted_path)
        self._write(self._owner_path, owner)

    def want(self, position: int) -> None:
        """Tell the prefetcher which segment of the plan is the next to be asked for."""
        self._write(self.wanted_path, str(position))

    def wanted(self) -> int | None:
        """What :meth:`want` said last, None before."""
        text = _read(self.wanted_path)
        return int(text) if text.isdigit() else None

    def take_lock(self) -> int | None:
        """Become the one prefetcher: a descriptor to keep open, None when there is one already."""
        descriptor = os.open(self.lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        return descriptor

    def prefetcher_lives(self) -> bool:
        """Whether somebody holds the prefetcher's lock; the kernel lets go of it when the holder dies."""
        try:
            descriptor = os.open(self.lock_path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def prefetcher_pid(self) -> int | None:
        """The living prefetcher's process id."""
        text = _read(self.lock_path)
        return int(text) if text.isdigit() and self.prefetcher_lives() else None

    def clear_work(self) -> None:
        """Remove what a killed prefetcher was writing; only for the holder of the lock."""
        _empty(self.work_directory)

    def tell_fault(self, record: dict[str, Any]) -> None:
        """Leave the cause of a 255 for the restore to find."""
        self._write(self.fault_path, json.dumps(record, ensure_ascii=False))

    def _write(self, path: str, text: str) -> None:
        temporary = f"{path}.{os.getpid()}"
        with open(temporary, "w", encoding="utf-8") as handle:
            handle.write(text)
        os.rename(temporary, path)


def _boot_id() -> str:
    return _read(_BOOT_ID)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as handle:
            return handle.read().strip()
    except FileNotFoundError:
        return ""


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def _empty(directory: str) -> None:
    for name in os.listdir(directory):
        _remove(f"{directory}/{name}")
