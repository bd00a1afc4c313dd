# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What is known of the host, and what counts as the same host as last time.

A host's memory differs by some megabytes from boot to boot, a file system grows, a container is moved. A
configuration that followed every such change would never come to rest; so facts within a fifth of those that
the present configuration was made from are taken to be those.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..core.errors import Refused

DISKS = ("hdd", "ssd", "nvme", "san", "unknown")
_NOISE = 0.2


@dataclass(frozen=True)
class HostFacts:
    """One host, as seen for one cluster.

    =============================== =======================================================================
    ``memory_bytes``                the smaller of the host's memory and the control group's limit
    ``cpus``                        what affinity and the control group's quota allow
    ``version``                     the cluster's major version
    ``disk``                        what the data lies on, one of :data:`DISKS`
    ``data_filesystem_bytes``       size of the data directory's file system; None when it is not known
    ``wal_filesystem_bytes``        size of the file system of ``pg_wal``
    ``wal_separate``                whether ``pg_wal`` is on a file system of its own
    ``wal_segment_bytes``           size of a WAL segment
    ``data_bytes``                  what the databases take now; said, never decides
    ``wal_compression_methods``     what this build of the server knows; empty: not known
    ``io_methods``                  the same for ``io_method`` (18 and later)
    ``io_uring_usable``             whether a server could set up io_uring here
    ``io_uring_obstacle``           what stands against it
    ``container``                   whether this is a container
    ``other_clusters_memory_bytes`` what of it other clusters of this host have been promised
    ``huge_page_bytes``             size of a huge page; None: the kernel has none
    ``huge_pages_total``            how many are reserved
    =============================== =======================================================================
    """

    memory_bytes: int
    cpus: int
    version: int
    disk: str = "unknown"
    data_filesystem_bytes: int | None = None
    wal_filesystem_bytes: int | None = None
    wal_separate: bool = False
    wal_segment_bytes: int = 16 * 1024 * 1024
    data_bytes: int | None = None
    wal_compression_methods: tuple[str, ...] = ()
    io_methods: tuple[str, ...] = ()
    io_uring_usable: bool = False
    io_uring_obstacle: str | None = None
    container: bool = False
    other_clusters_memory_bytes: int = 0
    huge_page_bytes: int | None = None
    huge_pages_total: int = 0

    @classmethod
    def from_dict(cls, value: Any) -> HostFacts:
        """Facts as :meth:`to_dict` gives them; what is not there is not known.

        Raises :class:`Refused` (``facts-malformed``).
        """
        if not isinstance(value, Mapping):
            raise _malformed("they are not a dictionary")
        known = {field.name: field for field in dataclasses.fields(cls)}
        unknown = sorted(set(map(str, value)) - set(known))
        if unknown:
            raise _malformed(f"unknown: {', '.join(unknown)}")
        read = {name: _read(name, str(known[name].type), given) for name, given in value.items()}
        missing = [name for name in ("memory_bytes", "cpus", "version") if read.get(name) is None]
        if missing:
            raise _malformed(f"missing: {', '.join(missing)}")
        facts = cls(**read)
        if facts.disk not in DISKS:
            raise _malformed(f"disk is {facts.disk!r}; it must be one of {', '.join(DISKS)}")
        if min(facts.memory_bytes, facts.cpus, facts.version, facts.wal_segment_bytes) < 1:
            raise _malformed("memory_bytes, cpus, version and wal_segment_bytes must be above zero")
        return facts

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(self).items()
        }

    @property
    def available_bytes(self) -> int:
        """Memory for this cluster: what others have been promised is theirs, but a quarter is always ours."""
        return max(self.memory_bytes - self.other_clusters_memory_bytes, self.memory_bytes // 4)

    def deciding(self) -> dict[str, Any]:
        """The facts that values are made from: what :meth:`steadied` wants to be given next time."""
        facts = self.to_dict()
        return {name: facts[name] for name in DECIDING}

    def steadied(self, previous: Mapping[str, Any] | None, promise: Callable[[HostFacts], int]) -> HostFacts:
        """These facts, with those of ``previous`` in the place of each that is within a fifth of it.

        What other clusters take is no reason to change this one while all promises fit into memory: of two
        clusters that are made one after the other the first would never come to rest. ``promise`` says what
        this cluster is promised on a host with the facts that it is given.

        What cannot be seen just now (programs not installed yet, a disk behind a layer) stays as it was. Facts
        of another major version, or that cannot be read, count for nothing.
        """
        before = _before(previous)
        if before is None or before.version != self.version:
            return self
        changes: dict[str, Any] = {}
        if _near(self.memory_bytes, before.memory_bytes):
            memory: dict[str, Any] = {
                "memory_bytes": before.memory_bytes,
                "other_clusters_memory_bytes": before.other_clusters_memory_bytes,
            }
            others = self.other_clusters_memory_bytes
            if _near(self.available_bytes, before.available_bytes) or (
                others > before.other_clusters_memory_bytes
                and others + promise(dataclasses.replace(self, **memory)) <= self.memory_bytes
            ):
                changes.update(memory)
        for name in ("cpus", "data_filesystem_bytes", "wal_filesystem_bytes"):
            if _near(getattr(self, name), getattr(before, name)):
                changes[name] = getattr(before, name)
        if self.disk == "unknown":
            changes["disk"] = before.disk
        if not self.wal_compression_methods:
            changes["wal_compression_methods"] = before.wal_compression_methods
        return dataclasses.replace(self, **changes)


#: Facts that decide a value, in the order in which they are kept.
DECIDING = (
    "memory_bytes",
    "other_clusters_memory_bytes",
    "cpus",
    "version",
    "disk",
    "data_filesystem_bytes",
    "wal_filesystem_bytes",
    "wal_separate",
    "wal_segment_bytes",
    "wal_compression_methods",
)


def _near(now: int | None, before: int | None) -> bool:
    if now is None or before is None:
        # What was known stays as it was; what becomes known counts.
        return now is None
    return abs(now - before) <= _NOISE * before


def _before(previous: Mapping[str, Any] | None) -> HostFacts | None:
    if not previous:
        return None
    try:
        return HostFacts.from_dict({name: previous[name] for name in DECIDING if name in previous})
    except Refused:
        return None


def _read(name: str, kind: str, value: Any) -> Any:
    """One value as the field wants it (Ansible's templates may hand numbers on as text)."""
    if value is None and "None" in kind:
        return None
    if kind.startswith("bool"):
        if isinstance(value, bool):
            return value
    elif kind.startswith("int"):
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        if isinstance(value, str) and value.isdigit():
            return int(value)
    elif kind.startswith("tuple"):
        if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
            return tuple(value)
    elif isinstance(value, str):
        return value
    raise _malformed(f"{name} is {value!r}")


def _malformed(happened: str) -> Refused:
    return Refused(
        "facts-malformed",
        attempted="read the facts of the host",
        happened=happened,
        remedy="Hand on what the module dbkeeper.ops.pg_host_info returns as facts.",
    )
