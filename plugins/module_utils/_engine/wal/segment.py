# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Names and numbers of WAL segments, for every size that initdb allows.

The arithmetic is our own because ``pg_walfile_name`` changed its answer at segment boundaries between
majors (source: PostgreSQL manual, "WAL Internals"; xlog_internal.h for the names).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..core.errors import Refused

SIZES_BYTES = tuple(1 << power for power in range(20, 31))
_SEGMENT = re.compile(r"^[0-9A-F]{24}\Z")
_PARTIAL = re.compile(r"^[0-9A-F]{24}\.partial\Z")
_HISTORY = re.compile(r"^[0-9A-F]{8}\.history\Z")
_BACKUP = re.compile(r"^[0-9A-F]{24}\.[0-9A-F]{8}\.backup\Z")


@dataclass(frozen=True, order=True)
class Segment:
    """One segment of one timeline; ``number`` counts segments from the beginning of WAL."""

    timeline: int
    number: int


def is_segment_name(name: str) -> bool:
    """Whether the name is that of a whole segment."""
    return bool(_SEGMENT.match(name))


def is_partial_name(name: str) -> bool:
    """Whether the name is that of an old timeline's last, unfinished segment."""
    return bool(_PARTIAL.match(name))


def is_history_name(name: str) -> bool:
    """Whether the name is that of a timeline history file."""
    return bool(_HISTORY.match(name))


def is_backup_name(name: str) -> bool:
    """Whether the name is that of a backup history file."""
    return bool(_BACKUP.match(name))


def check_size(size: int) -> int:
    """The size back, in bytes. Raises :class:`Refused` (``segment-size-invalid``)."""
    if size not in SIZES_BYTES:
        raise Refused(
            "segment-size-invalid",
            attempted="calculate with WAL segments",
            happened=f"{size} bytes is no segment size of PostgreSQL",
            remedy="Take wal_segment_size from pg_controldata: a power of two from 1 MB to 1 GB.",
            details={"wal_segment_size": size},
        )
    return size


def segments_per_log(size: int) -> int:
    """How many names share their middle eight digits."""
    return (1 << 32) // size


def segment_name(segment: Segment, size: int) -> str:
    """The file name of a segment of ``size`` bytes."""
    log, rest = divmod(segment.number, segments_per_log(size))
    return f"{segment.timeline:08X}{log:08X}{rest:08X}"


def parse_segment(name: str, size: int) -> Segment:
    """The segment of a file name. Raises :class:`Refused` (``segment-name-malformed``).

    A name whose last eight digits do not exist at this size belongs to a cluster of another size.
    """
    rest = int(name[16:24], 16) if is_segment_name(name) else segments_per_log(size)
    timeline = int(name[:8], 16) if rest < segments_per_log(size) else 0
    if not timeline:
        raise Refused(
            "segment-name-malformed",
            attempted="read the name of a WAL segment",
            happened=f"{name!r} is no segment of a cluster with wal_segment_size {size}",
            remedy="Keep one archive per system identifier; look where the file came from.",
            details={"name": name, "wal_segment_size": size},
        )
    return Segment(timeline, int(name[8:16], 16) * segments_per_log(size) + rest)


def history_name(timeline: int) -> str:
    """The file name of a timeline's history."""
    return f"{timeline:08X}.history"


def segment_of(lsn: int, size: int) -> int:
    """The number of the segment that holds the byte at ``lsn``."""
    return lsn // size


def last_segment_of(end_lsn: int, size: int) -> int:
    """The number of the last segment needed when bytes up to, not with, ``end_lsn`` are."""
    return (end_lsn - 1) // size


def first_lsn(number: int, size: int) -> int:
    """Where a segment begins."""
    return number * size


def next_segment(segment: Segment) -> Segment:
    """The following segment of the same timeline."""
    return Segment(segment.timeline, segment.number + 1)
