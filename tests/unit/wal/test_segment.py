# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Positions and segment names, by the server's own answers and by counting another way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.lsn import format_lsn, parse_lsn
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.segment import (
    SIZES_BYTES,
    Segment,
    check_size,
    first_lsn,
    is_backup_name,
    is_history_name,
    is_partial_name,
    is_segment_name,
    last_segment_of,
    next_segment,
    parse_segment,
    segment_name,
    segment_of,
)

MB = 1 << 20
LSNS = st.integers(0, 2**64 - 1)
SIZES = st.sampled_from(SIZES_BYTES)

# pg_walfile_name of PostgreSQL 15 for positions inside segments (with other timelines where not 1).
FROM_THE_SERVER = [
    (1, "0/1", "000000010000000000000000", 1),
    (1, "0/FFFFF", "000000010000000000000000", 1),
    (1, "0/100001", "000000010000000000000001", 1),
    (1, "1/1", "000000010000000100000000", 1),
    (1, "2A/FFFFFFFF", "000000010000002A00000FFF", 1),
    (16, "0/1", "000000010000000000000000", 1),
    (16, "0/3000028", "000000010000000000000003", 1),
    (16, "0/FFFFFFFF", "0000000100000000000000FF", 1),
    (16, "1/1", "000000010000000100000000", 1),
    (16, "16/B374D848", "0000000A00000016000000B3", 10),
    (64, "0/FFFFFFFF", "00000001000000000000003F", 1),
    (64, "5/8000001", "0000001F0000000500000002", 31),
    (1024, "0/FFFFFFFF", "000000010000000000000003", 1),
]


@pytest.mark.parametrize(("mb", "position", "name", "timeline"), FROM_THE_SERVER)
def test_names_are_the_servers(mb: int, position: str, name: str, timeline: int) -> None:
    size = mb * MB
    segment = Segment(timeline, segment_of(parse_lsn(position), size))
    assert segment_name(segment, size) == name
    assert parse_segment(name, size) == segment


@given(LSNS)
def test_positions_there_and_back(lsn: int) -> None:
    text = format_lsn(lsn)
    assert parse_lsn(text) == lsn
    assert text == text.upper() and len(text) <= 17


@pytest.mark.parametrize(
    "text", ["", "0", "0/", "/0", "0/123456789", "0x1/2", "0/G", "1/2/3", "-1/0", "0 /1"]
)
def test_what_is_no_position(text: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_lsn(text)
    assert caught.value.code == "lsn-malformed"


@given(LSNS, SIZES, st.integers(1, 2**32 - 1))
def test_a_position_lies_in_its_segment(lsn: int, size: int, timeline: int) -> None:
    number = segment_of(lsn, size)
    begin = first_lsn(number, size)
    assert begin <= lsn < begin + size
    name = segment_name(Segment(timeline, number), size)
    assert is_segment_name(name)
    assert parse_segment(name, size) == Segment(timeline, number)
    # The name counted by hand: 'log' is the upper half of the position, the rest counts within it.
    assert name == f"{timeline:08X}{lsn >> 32:08X}{(lsn & 0xFFFFFFFF) // size:08X}"


@given(LSNS, SIZES)
def test_an_exclusive_end_on_a_boundary_needs_the_segment_before(lsn: int, size: int) -> None:
    boundary = first_lsn(segment_of(lsn, size), size)
    if boundary:
        assert last_segment_of(boundary, size) == segment_of(boundary, size) - 1
    assert last_segment_of(boundary + 1, size) == segment_of(boundary, size)


@given(st.integers(0, 2**40), SIZES)
def test_names_sort_as_wal_goes_on(number: int, size: int) -> None:
    number %= 2**32 * ((1 << 32) // size) - 1
    segment = Segment(7, number)
    following = next_segment(segment)
    assert following.number == number + 1
    assert segment_name(segment, size) < segment_name(following, size)


@pytest.mark.parametrize("size", SIZES_BYTES)
def test_a_name_of_another_size_is_told(size: int) -> None:
    per_log = (1 << 32) // size
    assert parse_segment(f"0000000100000000{per_log - 1:08X}", size).number == per_log - 1
    with pytest.raises(Refused) as caught:
        parse_segment(f"0000000100000000{per_log:08X}", size)
    assert caught.value.code == "segment-name-malformed"


@pytest.mark.parametrize(
    "name", ["", "00000001000000000000000", "00000001000000000000000g", "0" * 24, "0" * 25]
)
def test_what_is_no_segment_name(name: str) -> None:
    with pytest.raises(Refused):
        parse_segment(name, 16 * MB)


@pytest.mark.parametrize("size", [0, 1, MB // 2, 3 * MB, 16 * MB + 1, 2048 * MB])
def test_sizes_that_no_server_has(size: int) -> None:
    with pytest.raises(Refused) as caught:
        check_size(size)
    assert caught.value.code == "segment-size-invalid"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("0000000A00000000000000FF", "segment"),
        ("0000000A00000000000000FF.partial", "partial"),
        ("0000000A.history", "history"),
        ("0000000A00000000000000FF.00000028.backup", "backup"),
        ("0000000a00000000000000ff", None),
        ("0000000A00000000000000FF.zst", None),
        ("0000000A00000000000000FF\n", None),
        ("0000000A.history.tmp", None),
        ("A.history", None),
        (".tmp-x", None),
    ],
)
def test_kinds_of_names(name: str, kind: str | None) -> None:
    answers = {
        "segment": is_segment_name(name),
        "partial": is_partial_name(name),
        "history": is_history_name(name),
        "backup": is_backup_name(name),
    }
    assert [what for what, answer in answers.items() if answer] == ([kind] if kind else [])
