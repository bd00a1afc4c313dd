# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The first page of a segment says whose it is: the cheapest proof that a file is what its name says.

Layout: XLogLongPageHeaderData in PostgreSQL's xlog_internal.h, in the byte order of the machine.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from .lsn import format_lsn
from .segment import SIZES_BYTES, Segment, first_lsn, segment_name

HEADER_BYTES = 40
SHORT_HEADER_BYTES = 24
PAGE_BYTES = 8192
FIRST_IS_CONTINUATION = 0x0001
LONG_HEADER = 0x0002
_LONG = struct.Struct("=HHIQIxxxxQII")
_SHORT = struct.Struct("=HHIQI")

# XLOG_PAGE_MAGIC of each major, read from the first page that each server writes.
MAGIC_OF_MAJOR = {14: 0xD10D, 15: 0xD110, 16: 0xD113, 17: 0xD116, 18: 0xD118}
MAJOR_OF_MAGIC = {magic: major for major, magic in MAGIC_OF_MAJOR.items()}


@dataclass(frozen=True)
class PageHeader:
    """The long header at the beginning of a segment."""

    magic: int
    info: int
    timeline: int
    page_lsn: int
    remaining_bytes: int
    system_id: int
    segment_bytes: int
    page_bytes: int

    @property
    def major(self) -> int | None:
        """The major version that wrote the page, or None when it is not known here."""
        return MAJOR_OF_MAGIC.get(self.magic)


class SegmentFault(Exception):
    """A segment is not what it should be: ``code`` is the refusal's slug, ``text`` says what was seen."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def parse_header(head: bytes) -> PageHeader:
    """The long header in the first :data:`HEADER_BYTES` bytes. Raises ValueError for fewer bytes."""
    if len(head) < HEADER_BYTES:
        raise ValueError(f"a page header has {HEADER_BYTES} bytes, not {len(head)}")
    return PageHeader(*_LONG.unpack_from(head))


def parse_short_header(page: bytes, offset: int = 0) -> tuple[int, int, int, int, int]:
    """Magic, info, timeline, page LSN and bytes left of a continued record, of any page."""
    magic, info, timeline, page_lsn, remaining = _SHORT.unpack_from(page, offset)
    return magic, info, timeline, page_lsn, remaining


def check_segment_header(
    head: bytes, *, segment: Segment, size: int, system_id: int | None, major: int | None
) -> PageHeader:
    """The header of a segment that is what its name says; ``None`` for a fact that is not known yet.

    Raises :class:`SegmentFault` with ``segment-wrong-size`` (B03), ``segment-zero-filled`` (B04),
    ``segment-wrong-content`` (B05), ``segment-wrong-system`` (B07) or ``segment-corrupt``.
    """
    if len(head) < HEADER_BYTES:
        raise SegmentFault("segment-wrong-size", f"it has only {len(head)} bytes")
    if not any(head):
        raise SegmentFault("segment-zero-filled", "its first page is all zeros")
    header = parse_header(head)
    if header.major is None or not header.info & LONG_HEADER or header.segment_bytes not in SIZES_BYTES:
        raise SegmentFault("segment-corrupt", f"it does not begin with a WAL page (magic {header.magic:04X})")
    if system_id is not None and header.system_id != system_id:
        raise SegmentFault(
            "segment-wrong-system",
            f"it belongs to the cluster with system identifier {header.system_id}, not {system_id}",
        )
    if major is not None and header.major != major:
        raise SegmentFault(
            "segment-wrong-content", f"it was written by PostgreSQL {header.major}, the cluster is {major}"
        )
    if header.segment_bytes != size:
        raise SegmentFault(
            "segment-wrong-size",
            f"it is of a cluster with wal_segment_size {header.segment_bytes}, not {size}",
        )
    if header.page_lsn != first_lsn(segment.number, size):
        held = segment_name(Segment(segment.timeline, header.page_lsn // size), size)
        raise SegmentFault(
            "segment-wrong-content",
            f"it holds the WAL of {format_lsn(header.page_lsn)} (the content of {held})",
        )
    if not 0 < header.timeline <= segment.timeline:
        raise SegmentFault(
            "segment-wrong-content",
            f"its first page is of timeline {header.timeline}, not {segment.timeline} or before",
        )
    return header
