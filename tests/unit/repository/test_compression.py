# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What is unpacked, by the library and by the program: the same bytes, the same refusals, the same file."""

from __future__ import annotations

import errno
import os
import random
import subprocess
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository import compression
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.compression import (
    Damaged,
    identity,
    plain_digest,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.compressor import Compressor
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.zstdlib import Library, library
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.content import CHEAPEST, PACKED, PLAIN

_KIB = 1 << 10


def pack(plain: bytes, *options: str) -> bytes:
    return subprocess.run(["zstd", "-q", "-c", *options], input=plain, capture_output=True, check=True).stdout


@pytest.fixture(params=["library", "program"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the library and without one."""
    if request.param == "program":
        monkeypatch.setattr(compression, "library", lambda: None)
    return str(request.param)


def unpacked(path: Path, target: Path) -> tuple[str, int]:
    descriptor = os.open(target, os.O_RDWR | os.O_CREAT)
    try:
        return plain_digest(str(path), descriptor)
    finally:
        os.close(descriptor)


def some(count: int) -> bytes:
    """Half of it random, half of it repeated."""
    return random.Random(count).randbytes(count // 2) + b"ledger " * (count // 14 + 1)


PLAIN_BYTES = {
    "nothing": b"",
    "one byte": b"x",
    "a block less one": some(256 * _KIB)[: 256 * _KIB - 1],
    "exactly a block": some(256 * _KIB)[: 256 * _KIB],
    "a block and one": some(256 * _KIB)[: 256 * _KIB + 1],
    "four blocks": some(1024 * _KIB)[: 1024 * _KIB],
    "a few bytes that become many": bytes(5 << 20),
    "random": random.Random(1).randbytes(700 * _KIB),
}


@pytest.mark.parametrize("options", [("-1",), ("-19", "--no-check"), ("-1", "--long=27")], ids=" ".join)
@pytest.mark.parametrize("plain", PLAIN_BYTES.values(), ids=PLAIN_BYTES)
def test_the_bytes_come_back(tmp_path: Path, way: str, plain: bytes, options: tuple[str, ...]) -> None:
    stored, target = tmp_path / "stored.zst", tmp_path / "target"
    stored.write_bytes(pack(plain, *options))
    # What lies there is longer, and of it nothing stays.
    target.write_bytes(b"?" * (len(plain) + 100))
    assert unpacked(stored, target) == (sha256(plain).hexdigest(), len(plain))
    assert target.read_bytes() == plain
    assert plain_digest(str(stored)) == (sha256(plain).hexdigest(), len(plain))


def test_frames_one_after_another_and_one_to_skip(tmp_path: Path, way: str) -> None:
    plain = some(300 * _KIB)
    skipped = b"\x50\x2a\x4d\x18" + (7).to_bytes(4, "little") + b"nothing"
    stored = tmp_path / "stored.zst"
    stored.write_bytes(pack(plain) + skipped + pack(b"") + pack(plain))
    assert unpacked(stored, tmp_path / "target") == (sha256(plain * 2).hexdigest(), 2 * len(plain))


def test_what_is_not_packed_is_cut_too(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"short")
    (tmp_path / "target").write_bytes(b"much longer than that")
    assert unpacked(tmp_path / "plain", tmp_path / "target") == (sha256(b"short").hexdigest(), 5)
    assert (tmp_path / "target").read_bytes() == b"short"


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda stored: b"",
    "cut in its header": lambda stored: stored[:3],
    "cut by its checksum": lambda stored: stored[:-4],
    "cut by one byte": lambda stored: stored[:-1],
    "cut in half": lambda stored: stored[: len(stored) // 2],
    "a bit of its checksum": lambda stored: stored[:-1] + bytes([stored[-1] ^ 1]),
    "a bit in the middle": lambda stored: (
        stored[: len(stored) // 2] + bytes([stored[len(stored) // 2] ^ 8]) + stored[len(stored) // 2 + 1 :]
    ),
    "zeros": lambda stored: bytes(len(stored)),
    "something after it": lambda stored: stored + b"something",
    "zeros after it": lambda stored: stored + bytes(64),
    "half of another after it": lambda stored: stored + stored[: len(stored) // 2],
}


@pytest.mark.parametrize("spoil", DAMAGE.values(), ids=DAMAGE)
def test_damage_is_told_in_the_programs_words(
    tmp_path: Path, way: str, spoil: Callable[[bytes], bytes]
) -> None:
    stored = tmp_path / "stored.zst"
    stored.write_bytes(spoil(pack(some(600 * _KIB))))
    told = subprocess.run(
        ["zstd", "-q", "-d", "-c"], stdin=stored.open("rb"), capture_output=True, check=False
    )
    assert told.returncode != 0
    with pytest.raises(Damaged) as caught:
        unpacked(stored, tmp_path / "target")
    assert str(caught.value) == told.stderr.decode().strip()
    with pytest.raises(Damaged):
        plain_digest(str(stored))


def test_the_library_is_used_where_there_is_one() -> None:
    """Every host that has PostgreSQL 15 or later has it: were it not found, only speed would tell."""
    try:
        Library("libzstd.so.1")
    except OSError:
        assert library() is None
    else:
        assert isinstance(library(), Library)


@pytest.mark.parametrize("name", ["libno-such-thing.so.1", "libc.so.6"])
def test_no_library_or_another_is_said(name: str) -> None:
    with pytest.raises((OSError, AttributeError)):
        Library(name)


def test_bits_anywhere_are_seen_by_both_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flipped bits: what the one takes, the other takes, with the same bytes."""
    plain = some(40 * _KIB)
    sound = pack(plain, "-1")
    stored = tmp_path / "stored.zst"
    refused = 0
    ours = library
    for number in range(60):
        dice = random.Random(number)
        spoilt = bytearray(sound)
        spoilt[dice.randrange(len(spoilt))] ^= 1 << dice.randrange(8)
        stored.write_bytes(spoilt)
        results = []
        for tried in (ours, lambda: None):
            monkeypatch.setattr(compression, "library", tried)
            try:
                results.append(plain_digest(str(stored)))
            except Damaged as error:
                results.append(str(error))
        assert results[0] == results[1]
        refused += isinstance(results[0], str)
    assert refused >= 55


# -- identities ---------------------------------------------------------------------------------------------

SKIPPED = b"\x50\x2a\x4d\x18" + (7).to_bytes(4, "little") + b"nothing"


def known(path: Path, target: Path, kind: str) -> str:
    """Its identity, unpacked over something longer."""
    target.write_bytes(b"?" * (2 << 20))
    descriptor = os.open(target, os.O_RDWR)
    try:
        return identity(str(path), descriptor, kind)
    finally:
        os.close(descriptor)


def by_stored(stored: bytes) -> str:
    return f"zstd:{sha256(stored).hexdigest()}"


@pytest.mark.parametrize("plain", PLAIN_BYTES.values(), ids=PLAIN_BYTES)
def test_a_packed_file_is_known_by_its_stored_bytes(tmp_path: Path, way: str, plain: bytes) -> None:
    path, target = tmp_path / "stored.zst", tmp_path / "target"
    path.write_bytes(pack(plain, "-1", "--single-thread"))
    packed, content = by_stored(path.read_bytes()), sha256(plain).hexdigest()
    expected = {PACKED: packed, PLAIN: content, CHEAPEST: packed if way == "library" else content}
    for kind, identified in expected.items():
        assert known(path, target, kind) == identity(str(path), None, kind) == identified
        assert target.read_bytes() == plain


def filled(stored: bytes) -> bytes:
    """A frame that ends exactly where the library's first read does."""
    over = len(pack(bytes(random.Random(5).randbytes(200 * _KIB)), "-1")) - 200 * _KIB
    for length in range(256 * _KIB - over - 16, 256 * _KIB):
        packed = pack(random.Random(5).randbytes(length), "-1")
        if len(packed) == 256 * _KIB:
            return packed + stored
    raise AssertionError("no frame of that length")


NOT_ONE_CHECKED_FRAME: dict[str, Callable[[bytes], bytes]] = {
    "without a checksum": lambda plain: pack(plain, "--no-check"),
    "two frames": lambda plain: pack(plain) + pack(plain),
    "an empty one after it": lambda plain: pack(plain) + pack(b""),
    "something to skip after it": lambda plain: pack(plain) + SKIPPED,
    "something to skip before it": lambda plain: SKIPPED + pack(plain),
    "another where the next read begins": lambda plain: filled(pack(plain)),
    "something to skip where the next read begins": lambda plain: filled(SKIPPED),
}


@pytest.mark.parametrize("make", NOT_ONE_CHECKED_FRAME.values(), ids=NOT_ONE_CHECKED_FRAME)
def test_what_is_not_one_checked_frame_is_known_by_its_plain_bytes(
    tmp_path: Path, way: str, make: Callable[[bytes], bytes]
) -> None:
    path, target = tmp_path / "stored.zst", tmp_path / "target"
    path.write_bytes(make(some(300 * _KIB)))
    plain = subprocess.run(["zstd", "-q", "-d", "-c", str(path)], capture_output=True, check=True).stdout
    assert known(path, target, CHEAPEST) == identity(str(path), None, CHEAPEST) == sha256(plain).hexdigest()
    assert target.read_bytes() == plain
    # Whoever asks for one that can never be proven gets it, and no more.
    assert known(path, target, PACKED) == by_stored(path.read_bytes())
    assert target.read_bytes() == plain


@pytest.mark.parametrize("kind", [PLAIN, PACKED, CHEAPEST])
def test_what_is_not_packed_has_one_identity_only(tmp_path: Path, kind: str) -> None:
    (tmp_path / "plain").write_bytes(b"short")
    assert known(tmp_path / "plain", tmp_path / "target", kind) == sha256(b"short").hexdigest()
    assert (tmp_path / "target").read_bytes() == b"short"


@pytest.mark.parametrize("kind", [PACKED, CHEAPEST])
@pytest.mark.parametrize("spoil", DAMAGE.values(), ids=DAMAGE)
def test_damage_has_no_identity(tmp_path: Path, way: str, spoil: Callable[[bytes], bytes], kind: str) -> None:
    stored = tmp_path / "stored.zst"
    stored.write_bytes(spoil(pack(some(600 * _KIB))))
    told = subprocess.run(
        ["zstd", "-q", "-d", "-c"], stdin=stored.open("rb"), capture_output=True, check=False
    )
    for act in (lambda: known(stored, tmp_path / "target", kind), lambda: identity(str(stored), None, kind)):
        with pytest.raises(Damaged) as caught:
            act()
        assert str(caught.value) == told.stderr.decode().strip()


def test_no_flipped_bit_keeps_the_identity(tmp_path: Path, way: str) -> None:
    """Also where zstd does not mind: a bit that means nothing makes other stored bytes."""
    sound = pack(some(40 * _KIB), "-1")
    stored = tmp_path / "stored.zst"
    for number in range(40):
        dice = random.Random(number)
        spoilt = bytearray(sound)
        spoilt[dice.randrange(len(spoilt))] ^= 1 << dice.randrange(8)
        stored.write_bytes(spoilt)
        try:
            assert identity(str(stored), None, PACKED) != by_stored(sound)
        except Damaged:
            continue


def test_a_full_disk_is_no_damage(tmp_path: Path, way: str) -> None:
    stored = tmp_path / "stored.zst"
    stored.write_bytes(pack(some(600 * _KIB)))
    target = os.open("/dev/full", os.O_RDWR)
    try:
        with pytest.raises(OSError) as caught:
            identity(str(stored), target, PACKED)
    finally:
        os.close(target)
    assert caught.value.errno == errno.ENOSPC


def test_our_own_segments_carry_a_checksum(tmp_path: Path) -> None:
    """What archive push and the door's other side write: RFC 8878, Content_Checksum_flag."""
    (tmp_path / "in").write_bytes(some(600 * _KIB))
    source = os.open(tmp_path / "in", os.O_RDONLY)
    target = os.open(tmp_path / "out.zst", os.O_RDWR | os.O_CREAT)
    Compressor(source, target, level=1, attempted="pack").finish()
    os.close(source)
    os.close(target)
    stored = (tmp_path / "out.zst").read_bytes()
    assert stored[:4] == b"\x28\xb5\x2f\xfd" and stored[4] & 4
    listed = subprocess.run(
        ["zstd", "-lv", str(tmp_path / "out.zst")], capture_output=True, text=True, check=True
    )
    assert "Check: XXH64" in listed.stdout
