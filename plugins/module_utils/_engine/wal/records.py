# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Where records lie in a segment, read from page headers and lengths alone.

pg_waldump checks every record but does not say which one is left open at a segment's end, and that is what
joins a segment to the next one. One page is walked here, so this costs nothing.
Layout: xlogrecord.h and xlog_internal.h of PostgreSQL; records begin at multiples of 8.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

from .page import (
    FIRST_IS_CONTINUATION,
    HEADER_BYTES,
    PAGE_BYTES,
    SHORT_HEADER_BYTES,
    PageHeader,
    parse_header,
    parse_short_header,
)

RECORD_HEADER_BYTES = 24
_LENGTH = struct.Struct("=I")
_ZEROS = bytes(PAGE_BYTES)


@dataclass(frozen=True)
class Layout:
    """The records of one segment, as positions of their first bytes.

    ``first`` and ``tail`` are the first and the last record that begin in it (None: a single record covers
    it all); ``last_complete`` is the last one that also ends in it; ``is_open`` says that ``tail`` (or the
    record that covers all) goes on in the next segment; ``carried_end`` is where a record that was begun
    in an earlier segment ends in this one, None when there is none or it goes on.
    """

    first: int | None
    tail: int | None
    last_complete: int | None
    is_open: bool
    carried_end: int | None


def align(lsn: int) -> int:
    """The next position at which a record may begin, page headers apart."""
    return (lsn + 7) & ~7


def skip_header(lsn: int, size: int) -> int:
    """``lsn``, or the byte after the page header when it is the beginning of a page."""
    if lsn % PAGE_BYTES:
        return lsn
    return lsn + (SHORT_HEADER_BYTES if lsn % size else HEADER_BYTES)


def record_end(start: int, length: int, size: int) -> int:
    """The position after a record of ``length`` bytes that begins at ``start``: page headers lie between."""
    position = skip_header(start, size)
    left = length
    while True:
        room = PAGE_BYTES - position % PAGE_BYTES
        if left <= room:
            return position + left
        left -= room
        position = skip_header(position + room, size)


def read_layout(path: str, size: int) -> Layout:
    """The layout of a plain segment file whose header has been checked."""
    with open(path, "rb", buffering=0) as handle:
        header = parse_header(handle.read(HEADER_BYTES))
        begin = header.page_lsn
        carried = bool(header.info & FIRST_IS_CONTINUATION)
        first, end = _first(header, size)
        starts, is_open = _last_starts(handle.fileno(), begin, size)
    complete = starts[:-1] if is_open else starts
    covered = not starts and carried and end > begin + size
    return Layout(
        first=first,
        tail=starts[-1] if starts else None,
        last_complete=complete[-1] if complete else None,
        is_open=is_open or covered,
        carried_end=end if carried and end <= begin + size else None,
    )


def first_record(path: str, size: int) -> int | None:
    """Where the first record begins in a plain segment whose header has been checked; None: one covers it all."""
    with open(path, "rb", buffering=0) as handle:
        header = parse_header(handle.read(HEADER_BYTES))
    return _first(header, size)[0]


def _first(header: PageHeader, size: int) -> tuple[int | None, int]:
    """The first record's beginning, and the end of the one that is carried in."""
    begin = header.page_lsn
    carried = bool(header.info & FIRST_IS_CONTINUATION)
    end = record_end(begin, header.remaining_bytes, size) if carried else begin
    if end > begin + size or align(end) == begin + size:
        return None, end
    return skip_header(align(end), size), end


def zeros_from(path: str, offset: int) -> bool:
    """Whether nothing but zeros follows ``offset`` in a file."""
    with open(path, "rb", buffering=0) as handle:
        handle.seek(offset)
        while True:
            block = handle.read(64 * PAGE_BYTES)
            if not block:
                return True
            if any(block):
                return False


def _last_starts(descriptor: int, begin: int, size: int) -> tuple[list[int], bool]:
    """The records that begin in the last pages, at least one whole one if any; whether the last is open."""
    found: list[int] = []
    is_open = False
    for offset in range(size - PAGE_BYTES, -1, -PAGE_BYTES):
        page = os.pread(descriptor, PAGE_BYTES, offset)
        if page == _ZEROS:
            continue
        starts, page_open = _starts_in_page(page, begin + offset, begin + size, size)
        if starts and not found:
            is_open = page_open
        found = starts + found
        if len(found) > is_open:
            break
    return found, is_open


def _starts_in_page(page: bytes, page_lsn: int, segment_end: int, size: int) -> tuple[list[int], bool]:
    _dummy, info, _dummy, _dummy, remaining = parse_short_header(page)
    position = skip_header(page_lsn, size)
    if info & FIRST_IS_CONTINUATION:
        position = align(position + remaining)
    starts: list[int] = []
    while position < page_lsn + PAGE_BYTES:
        (length,) = _LENGTH.unpack_from(page, position - page_lsn)
        if length < RECORD_HEADER_BYTES:
            break
        starts.append(position)
        if position + length > segment_end or (end := record_end(position, length, size)) > segment_end:
            return starts, True
        position = align(end)
    return starts, False
