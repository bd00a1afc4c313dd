# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The tar cutter against the standard library's writer, whatever the blocks in which the stream comes."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.tarstream import (
    TarCutter,
    TarDamaged,
    parse_header,
    safe_name,
)

NAMES = st.from_regex(r"[a-z0-9_]{1,8}(/[a-z0-9_.]{1,8}[a-z])?", fullmatch=True)
FILES = st.dictionaries(NAMES, st.binary(max_size=3000), max_size=8)


def packed(files: dict[str, bytes], directories: tuple[str, ...] = ()) -> bytes:
    """A ustar archive as PostgreSQL ends it: with two records of zeros and no more padding than that."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in directories:
            info = tarfile.TarInfo(name)
            info.type, info.mode = tarfile.DIRTYPE, 0o700
            archive.addfile(info)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o600
            archive.addfile(info, io.BytesIO(content))
        end = archive.offset
    return target.getvalue()[: end + 1024]


def unpacked(stream: bytes, block_bytes: int) -> dict[str, bytes]:
    cutter = TarCutter()
    found: dict[str, bytes] = {}
    for begin in range(0, len(stream), block_bytes):
        block = stream[begin : begin + block_bytes]
        for piece in cutter.cut(memoryview(block)):
            if piece.member.kind == "file":
                assert piece.first == (piece.member.name not in found)
                found[piece.member.name] = found.get(piece.member.name, b"") + block[piece.begin : piece.end]
                assert piece.last == (len(found[piece.member.name]) == piece.member.size_bytes)
    cutter.finish()
    return found


@given(FILES, st.integers(1, 5000))
def test_members_come_out_as_they_went_in(files: dict[str, bytes], block_bytes: int) -> None:
    assert unpacked(packed(files), block_bytes) == files


def test_directories_and_modes_are_told() -> None:
    cutter = TarCutter()
    members = [piece.member for piece in cutter.cut(memoryview(packed({"a/f": b"x"}, ("a",))))]
    assert [(m.name, m.kind, m.mode, m.size_bytes) for m in members] == [
        ("a/", "directory", 0o700, 0),
        ("a/f", "file", 0o600, 1),
    ]


@given(FILES.filter(bool), st.integers(0, 100_000), st.integers(1, 2000))
def test_a_stream_that_ends_early_is_damaged(files: dict[str, bytes], cut: int, block_bytes: int) -> None:
    whole = packed(files)
    with pytest.raises(TarDamaged, match="ends too early"):
        unpacked(whole[: cut % len(whole)], block_bytes)


@pytest.mark.parametrize("at", [0, 100, 124, 148, 156, 257, 345])
def test_a_changed_header_is_damaged(at: int) -> None:
    stream = bytearray(packed({"name": b"content"}))
    stream[at] ^= 0x01
    with pytest.raises(TarDamaged):
        unpacked(bytes(stream), 512)


def test_what_follows_the_end_is_damage() -> None:
    stream = packed({"a": b"1"}) + packed({"b": b"2"})
    with pytest.raises(TarDamaged, match="goes on after its end"):
        unpacked(stream, 512)


def test_types_that_postgresql_never_writes_are_damage() -> None:
    info = tarfile.TarInfo("pipe")
    info.type = tarfile.FIFOTYPE
    with pytest.raises(TarDamaged, match="which PostgreSQL does not write"):
        parse_header(info.tobuf(tarfile.USTAR_FORMAT))


def test_sizes_beyond_eleven_octal_digits() -> None:
    info = tarfile.TarInfo("large")
    info.size = 1 << 40
    assert parse_header(info.tobuf(tarfile.GNU_FORMAT)).size_bytes == 1 << 40


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("base/1/2619", "base/1/2619"),
        ("./base/1/2619", "base/1/2619"),
        ("pg_wal/", "pg_wal"),
        ("./", ""),
        (".", ""),
        ("a..b/c", "a..b/c"),
    ],
)
def test_names_of_members(name: str, expected: str) -> None:
    assert safe_name(name) == expected


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../x", "a/../../x", "a/./b", "a//b", "", "..", ".//x", "//"]
)
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(TarDamaged, match="leads out"):
        safe_name(name)
