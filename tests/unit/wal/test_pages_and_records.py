# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Pages and records: headers of every fault, and layouts of WAL that is written here byte by byte."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.page import (
    MAGIC_OF_MAJOR,
    SegmentFault,
    check_segment_header,
    parse_header,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.records import (
    Layout,
    read_layout,
    record_end,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.segment import Segment

MB = 1 << 20
SYSTEM = 7_000_000_000_000_000_123


def head(
    *,
    magic: int = 0xD110,
    info: int = 2,
    timeline: int = 1,
    lsn: int = 5 * MB,
    system: int = SYSTEM,
    size: int = MB,
) -> bytes:
    """XLogLongPageHeaderData, field by field."""
    return struct.pack("=HHIQI4xQII", magic, info, timeline, lsn, 0, system, size, 8192)


def test_a_sound_header() -> None:
    header = check_segment_header(head(), segment=Segment(1, 5), size=MB, system_id=SYSTEM, major=15)
    assert (header.timeline, header.page_lsn, header.system_id) == (1, 5 * MB, SYSTEM)
    assert (header.segment_bytes, header.page_bytes, header.major) == (MB, 8192, 15)


def test_an_ancestors_page_opens_a_descendants_segment() -> None:
    check_segment_header(head(timeline=1), segment=Segment(3, 5), size=MB, system_id=SYSTEM, major=15)


@pytest.mark.parametrize(
    ("data", "code", "word"),
    [
        (b"", "segment-wrong-size", "0 bytes"),
        (head()[:39], "segment-wrong-size", "39 bytes"),
        (bytes(40), "segment-zero-filled", "zeros"),
        (head(magic=0xBEEF), "segment-corrupt", "BEEF"),
        (head(info=0), "segment-corrupt", "WAL page"),
        (head(size=12345), "segment-corrupt", "WAL page"),
        (head(system=SYSTEM + 1), "segment-wrong-system", str(SYSTEM + 1)),
        (head(magic=0xD118), "segment-wrong-content", "PostgreSQL 18"),
        (head(size=16 * MB), "segment-wrong-size", "16777216"),
        (head(lsn=6 * MB), "segment-wrong-content", "000000010000000000000006"),
        (head(timeline=2), "segment-wrong-content", "timeline 2"),
        (head(timeline=0), "segment-wrong-content", "timeline 0"),
    ],
)
def test_headers_at_fault(data: bytes, code: str, word: str) -> None:
    with pytest.raises(SegmentFault) as caught:
        check_segment_header(data, segment=Segment(1, 5), size=MB, system_id=SYSTEM, major=15)
    assert caught.value.code == code
    assert word in caught.value.text


def test_facts_that_are_not_known_are_not_held_against_a_header() -> None:
    check_segment_header(head(), segment=Segment(1, 5), size=MB, system_id=None, major=None)


def test_every_supported_major_has_a_magic_of_its_own() -> None:
    assert sorted(MAGIC_OF_MAJOR) == [14, 15, 16, 17, 18]
    assert len(set(MAGIC_OF_MAJOR.values())) == 5
    for major, magic in MAGIC_OF_MAJOR.items():
        assert parse_header(head(magic=magic)).major == major


class Writer:
    """Writes records as the server lays them out: page by page, each record at a multiple of 8."""

    def __init__(self, begin: int, size: int) -> None:
        self.begin, self.size = begin, size
        self.data = bytearray()
        self.records: list[tuple[int, int]] = []

    @property
    def lsn(self) -> int:
        return self.begin + len(self.data)

    def _page(self, left: int) -> None:
        if self.lsn % 8192 == 0:
            first = self.lsn % self.size == 0
            info = (1 if left else 0) | (2 if first else 0)
            self.data += struct.pack("=HHIQI4x", 0xD110, info, 1, self.lsn, left)
            if first:
                self.data += struct.pack("=QII", SYSTEM, self.size, 8192)

    def record(self, length: int) -> None:
        self._page(0)
        start = self.lsn
        body = struct.pack("=I", length) + b"\x55" * (length - 4)
        while body:
            self._page(len(body))
            room = 8192 - self.lsn % 8192
            self.data += body[:room]
            body = body[room:]
        self.records.append((start, self.lsn))
        while self.lsn % 8:
            self.data.append(0)

    def switch(self) -> None:
        """Zeros to the end of the segment, as after pg_switch_wal."""
        self.record(24)
        self.data += bytes(-len(self.data) % self.size)


def expected(writer: Writer, number: int) -> Layout:
    begin = writer.begin + number * writer.size
    end = begin + writer.size
    inside = [(start, stop) for start, stop in writer.records if begin <= start < end]
    whole = [start for start, stop in inside if stop <= end]
    carried = [stop for start, stop in writer.records if start < begin < stop]
    over = any(start < end < stop for start, stop in writer.records)
    return Layout(
        first=inside[0][0] if inside else None,
        tail=inside[-1][0] if inside else None,
        last_complete=whole[-1] if whole else None,
        is_open=over,
        carried_end=carried[0] if carried and carried[0] <= end else None,
    )


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.integers(24, 120),
            st.integers(24, 9000),
            st.sampled_from([8152, 8168, 8144, 8160, 24, 32, 65536 - 40, 200_000]),
            st.just(0),
        ),
        min_size=1,
        max_size=60,
    ),
    st.sampled_from([65536, 131072]),
)
def test_layouts_are_those_that_were_written(lengths: list[int], size: int) -> None:
    writer = Writer(7 * size, size)
    for length in lengths:
        if length:
            writer.record(length)
        else:
            writer.switch()
    # Fill up, so that the last segment is whole as archived ones are.
    while len(writer.data) % size:
        writer.record(min(500, max(24, size - len(writer.data) % size)))
        if len(writer.data) > 40 * size:
            break
    for start, stop in writer.records:
        length = struct.unpack_from("=I", writer.data, start - writer.begin)[0]
        assert record_end(start, length, size) == stop
    with tempfile.TemporaryDirectory() as directory:
        for number in range(len(writer.data) // size):
            path = Path(directory) / "segment"
            path.write_bytes(writer.data[number * size : (number + 1) * size])
            found, wanted = read_layout(str(path), size), expected(writer, number)
            if found.first != wanted.first:
                # After the last record of a switched segment nothing begins; the place where it would is named.
                assert wanted.first is None and found.tail is None
                found = Layout(None, *list(found.__dict__.values())[1:])
            assert found == wanted
