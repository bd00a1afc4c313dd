# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What can happen to a stored file. Stored segments are compressed, so damage comes in two kinds:

to the stored bytes (a bad disk: :func:`flip_bit`, :func:`truncate`, :func:`zero_fill`), and to the bytes
inside a sound container (a wrong archive command wrote them: :func:`rewrite` with a change).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path


def delete(path: Path) -> None:
    """The file is gone."""
    path.unlink()


def truncate(path: Path, keep_bytes: int | None = None) -> None:
    """Only the beginning is left: half of the file unless said otherwise."""
    os.truncate(path, path.stat().st_size // 2 if keep_bytes is None else keep_bytes)


def zero_fill(path: Path) -> None:
    """Right size, nothing but zeros."""
    path.write_bytes(bytes(path.stat().st_size))


def flip_bit(path: Path, at: int | None = None) -> None:
    """One bit is wrong: in the middle unless said otherwise. Time stamps stay, as with a bad disk."""
    facts = path.stat()
    with open(path, "r+b") as handle:
        position = facts.st_size // 2 if at is None else at
        handle.seek(position)
        byte = handle.read(1)[0]
        handle.seek(position)
        handle.write(bytes([byte ^ 0x10]))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def unreadable(path: Path) -> None:
    """Permission denied, as after a mistaken chmod."""
    path.chmod(0)


def swap(first: Path, second: Path) -> None:
    """Each has the other's content; names and sizes of names stay."""
    aside = first.with_name(f"{first.name}.aside")
    first.rename(aside)
    second.rename(first)
    aside.rename(second)


def replace(path: Path, other: Path) -> None:
    """The content of another file under this name."""
    shutil.copyfile(other, path)


def replace_by(path: Path, other: Path) -> None:
    """The other file takes its place, whatever was there and whoever might read it."""
    os.replace(other, path)


def plain(path: Path) -> bytes:
    """The bytes inside a stored (.zst) file."""
    return subprocess.run(["zstd", "-d", "-q", "-c", str(path)], check=True, capture_output=True).stdout


def store(path: Path, content: bytes) -> None:
    """Write bytes as a sound stored (.zst) file."""
    packed = subprocess.run(["zstd", "-1", "-q", "-c"], input=content, check=True, capture_output=True).stdout
    path.write_bytes(packed)


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change the bytes inside a stored file; the container stays sound."""
    store(path, change(plain(path)))


def zeros_inside(content: bytes) -> bytes:
    """Right size, all zeros (B04)."""
    return bytes(len(content))


def half_inside(content: bytes) -> bytes:
    """Half of the size (B03)."""
    return content[: len(content) // 2]


def flipped_inside(content: bytes) -> bytes:
    """One bit inside a record is wrong (B06).

    Not just anywhere: up to seven zeros between records and all that follows a switch are covered by no checksum.
    """
    changed = bytearray(content)
    position = next(at for at in range(9000, len(content)) if content[at] and at % 8192 >= 64)
    changed[position] ^= 0x10
    return bytes(changed)


def remove(directory: Path) -> None:
    """Remove a directory in which rights were taken away."""
    for parent, names, _dummy in os.walk(directory):
        for name in names:
            os.chmod(os.path.join(parent, name), 0o700)
    shutil.rmtree(directory)
