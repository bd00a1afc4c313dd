# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What can happen to a stored archive, at random: one file, or two that get mixed up."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from .forked_archive import PAGE, SEGMENT, ForkedArchive
from .harness.world import lsn_number, lsn_text


class Mutable:
    """A copy of an archive: links to the files as they were, and own files where something happened to them."""

    def __init__(
        self, origin: ForkedArchive, root: Path, chance: random.Random, foreign: list[bytes]
    ) -> None:
        self.origin = origin
        self.root = root
        self.chance = chance
        self.foreign = foreign
        self.done: list[str] = []
        self.touched: set[str] = set()
        store = Path(origin.repository.path)
        self.directory = root / "main" / "wal" / str(origin.system_id)
        self.directory.mkdir(parents=True)
        (root / "main" / "repository.json").symlink_to(store / "repository.json")
        for path in Path(origin.repository.wal(origin.system_id)).rglob("*"):
            target = self.directory / path.relative_to(origin.repository.wal(origin.system_id))
            target.parent.mkdir(exist_ok=True)
            if path.is_file():
                target.symlink_to(path)

    def path(self, name: str) -> Path:
        """Where a file of the archive lies here."""
        return self.directory / self.origin.stored(name)

    def own(self, name: str) -> Path:
        """The same as a file of our own, so that it can be changed."""
        path = self.path(name)
        if path.is_symlink():
            content = path.read_bytes()
            path.unlink()
            path.write_bytes(content)
        return path

    def plain(self, name: str) -> bytes:
        """The bytes inside, as they are now."""
        return unpacked(self.path(name))

    def store(self, name: str, content: bytes, level: int = 1) -> None:
        """Put other bytes into a sound container under this name."""
        path = self.path(name)
        path.unlink(missing_ok=True)
        packed = subprocess.run(
            ["zstd", f"-{level}", "-q", "-c"], input=content, check=True, capture_output=True
        ).stdout
        path.write_bytes(packed)

    def restore_rights(self) -> None:
        """So that the copy can be removed."""
        for path in [self.directory, *self.directory.rglob("*")]:
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o700)


def unpacked(path: Path) -> bytes:
    """The plain bytes of a stored file. Raises CalledProcessError when zstd refuses it."""
    if path.suffix != ".zst":
        return path.read_bytes()
    return subprocess.run(
        ["zstd", "-d", "-q", "-c"], input=path.read_bytes(), check=True, capture_output=True
    ).stdout


Mutation = Callable[[Mutable, str], str]


def delete(where: Mutable, name: str) -> str:
    where.path(name).unlink()
    return "deleted"


def truncate_stored(where: Mutable, name: str) -> str:
    path = where.own(name)
    size = where.chance.randrange(path.stat().st_size)
    with open(path, "r+b") as handle:
        handle.truncate(size)
    return f"stored bytes cut to {size}"


def truncate_inside(where: Mutable, name: str) -> str:
    size = where.chance.choice((0, 1, PAGE, SEGMENT // 2, SEGMENT - PAGE, SEGMENT - 1))
    where.store(name, where.plain(name)[:size])
    return f"plain bytes cut to {size}"


def longer_inside(where: Mutable, name: str) -> str:
    where.store(name, where.plain(name) + bytes(where.chance.choice((1, PAGE, SEGMENT))))
    return "longer than a segment"


def zero_stored(where: Mutable, name: str) -> str:
    path = where.own(name)
    path.write_bytes(bytes(path.stat().st_size))
    return "stored bytes zeroed"


def zero_inside(where: Mutable, name: str) -> str:
    where.store(name, bytes(SEGMENT))
    return "all zeros"


def zero_tail(where: Mutable, name: str) -> str:
    """From a page on, as a file that was allocated and not yet written."""
    at = PAGE * where.chance.randrange(1, SEGMENT // PAGE)
    where.store(name, where.plain(name)[:at].ljust(SEGMENT, b"\0"))
    return f"zeros from byte {at}"


def zero_after_record(where: Mutable, name: str) -> str:
    """Exactly behind a record, as a segment that was copied before it was full."""
    timeline, number = _place(name)
    low = number * SEGMENT
    ends = [
        record.end
        for record in where.origin.records[timeline]
        if record.timeline == timeline and low < record.end < low + SEGMENT
    ]
    at = where.chance.choice(ends) - low if ends else PAGE
    where.store(name, where.plain(name)[:at].ljust(SEGMENT, b"\0"))
    return f"zeros behind the record that ends at byte {at}"


def zero_page(where: Mutable, name: str) -> str:
    at = PAGE * where.chance.randrange(SEGMENT // PAGE)
    content = where.plain(name)
    where.store(name, content[:at] + bytes(PAGE) + content[at + PAGE :])
    return f"page at byte {at} zeroed"


def flip_stored(where: Mutable, name: str) -> str:
    content = bytearray(where.own(name).read_bytes())
    at = where.chance.randrange(len(content))
    content[at] ^= 1 << where.chance.randrange(8)
    where.path(name).write_bytes(content)
    return f"bit flipped at stored byte {at}"


def flip_inside(where: Mutable, name: str) -> str:
    """In what is used, mostly."""
    content = bytearray(where.plain(name))
    used = max(len(bytes(content).rstrip(b"\0")), 100)
    at = where.chance.randrange(used if where.chance.random() < 0.9 else len(content))
    if where.chance.random() < 0.2:
        at -= at % PAGE - where.chance.randrange(40)
    content[at % len(content)] ^= 1 << where.chance.randrange(8)
    where.store(name, bytes(content))
    return f"bit flipped at plain byte {at}"


def swap(where: Mutable, name: str) -> str:
    other = _other(where, name)
    mine, theirs = where.own(name), where.own(other)
    aside = mine.with_name("aside")
    mine.rename(aside)
    theirs.rename(mine)
    aside.rename(theirs)
    where.touched.add(other)
    return f"swapped with {other}"


def overwrite(where: Mutable, name: str) -> str:
    other = _other(where, name)
    content = where.path(other).read_bytes()
    where.path(name).unlink()
    where.path(name).write_bytes(content)
    return f"overwritten with {other}"


def other_branch(where: Mutable, name: str) -> str:
    """The same number of another timeline, or a neighbour with the address that belongs here."""
    timeline, number = _place(name)
    names = [one for one in where.origin.segments() if _place(one)[1] == number and one != name]
    if names and where.chance.random() < 0.6:
        other = where.chance.choice(names)
        content = where.origin.files[other]
    else:
        other = where.chance.choice([one for one in where.origin.segments() if one != name])
        content = where.origin.files[other]
        content = content[:8] + where.origin.files[name][8:16] + content[16:]
    where.store(name, content)
    return f"holds {other}"


def twice(where: Mutable, name: str) -> str:
    """A second form beside the first: the same bytes, or others."""
    content = where.plain(name)
    if where.chance.random() < 0.7:
        content = where.origin.files[_other(where, name)]
    (where.path(name).with_suffix("")).write_bytes(content)
    return "there twice"


def rename(where: Mutable, name: str) -> str:
    timeline, number = _place(name)
    directory = where.path(name).parent
    new = where.chance.choice(
        (
            f"{timeline:08X}{number // 4096:08X}{number % 4096 + 1:08X}.zst",
            f"{timeline:08X}{number // 4096:08X}{number % 4096 + 64:08X}.zst",
            f"{timeline + 1:08X}{number // 4096:08X}{number % 4096:08X}.zst",
            f"{name}.partial",
            f"{name.lower()}x.zst",
            f"{name}.zst.part",
            f".{name}.zst",
            f"{name}.00000028.backup",
        )
    )
    source = where.own(name)
    target = directory.parent / new[:8] / new if new[:8].isalnum() and len(new) == 28 else directory / new
    target.parent.mkdir(exist_ok=True)
    source.rename(target)
    where.touched |= {one for one in where.origin.segments() if target.name.startswith(one)}
    return f"renamed to {target.name}"


def no_rights(where: Mutable, name: str) -> str:
    where.own(name).chmod(where.chance.choice((0, 0o200, 0o111)))
    return "not readable"


def no_rights_above(where: Mutable, name: str) -> str:
    where.path(name).parent.chmod(where.chance.choice((0, 0o600)))
    return "its directory cannot be entered"


def of_another_system(where: Mutable, name: str) -> str:
    """Another cluster's segment, as it is or with this place's address."""
    content = where.chance.choice(where.foreign)
    if where.chance.random() < 0.7:
        content = content[:8] + where.origin.files[name][8:16] + content[16:]
    where.store(name, content)
    return "of another system"


def a_directory(where: Mutable, name: str) -> str:
    where.path(name).unlink()
    where.path(name).mkdir()
    return "a directory"


def dangling(where: Mutable, name: str) -> str:
    where.path(name).unlink()
    where.path(name).symlink_to("/nonexistent/segment")
    return "a link to nowhere"


# -- histories ---------------------------------------------------------------------------------------------


def history_text(where: Mutable, name: str) -> str:
    """Lines lost, added or garbled; a digit that changed."""
    path = where.own(name)
    text = path.read_text()
    lines = [line for line in text.splitlines() if line.strip()]
    chance = where.chance
    at = chance.choice([match.start() for match in re.finditer(r"[0-9A-F]", text)])
    choices = [
        "",
        "\n".join(lines[1:]) + "\n",
        "\n".join(lines[:-1]) + "\n",
        "garbage\n",
        text + "9\t0/9000000\tno\n",
        text[: chance.randrange(len(text))],
        text[:at] + chance.choice("0123456789") + text[at + 1 :],
        text[:at] + chance.choice("0123456789ABCDEF") + text[at + 1 :],
        _moved(text, chance),
        _moved(text, chance),
        "\0" * len(text),
        where.origin.files["00000002.history" if name[7] == "3" else "00000003.history"].decode(),
    ]
    new = chance.choice(choices)
    path.write_text(new)
    return f"text {text!r} is now {new!r}"


def _moved(text: str, chance: random.Random) -> str:
    """A fork at another place."""
    lines = [line for line in text.splitlines() if line.strip()]
    position = chance.randrange(len(lines))
    fields = lines[position].split("\t")
    moved = lsn_number(fields[1]) + chance.choice((-SEGMENT, SEGMENT, -PAGE, PAGE, -8, 8, 24, 3 * SEGMENT))
    lines[position] = "\t".join([fields[0], lsn_text(max(moved, 0)), *fields[2:]])
    return "\n".join(lines) + "\n"


def history_renamed(where: Mutable, name: str) -> str:
    new = where.chance.choice(("00000004.history", "00000002.history", "0000000A.history", f"{name}.old"))
    where.own(name).rename(where.directory / new)
    where.touched.add(new)
    return f"renamed to {new}"


# -- what does not matter ----------------------------------------------------------------------------------


def packed_again(where: Mutable, name: str) -> str:
    where.store(name, where.plain(name), level=3)
    return "compressed again"


def not_packed(where: Mutable, name: str) -> str:
    content = where.plain(name)
    where.path(name).unlink()
    where.path(name).with_suffix("").write_bytes(content)
    return "not compressed"


def strangers(where: Mutable, name: str) -> str:
    for stranger in (f"{name}.part", f".{name}.tmp", "README", f"{name}.zst.old", f".part-{name}"):
        (where.path(name).parent / stranger).write_bytes(b"x" * 100)
    return "strangers beside it"


def copied(where: Mutable, name: str) -> str:
    target = where.own(name)
    shutil.copyfile(target, f"{target}.new")
    Path(f"{target}.new").rename(target)
    target.chmod(0o440)
    return "copied, other time and rights"


SEGMENTS: tuple[Mutation, ...] = (
    *(delete, truncate_stored, truncate_inside, longer_inside, zero_stored, zero_inside, zero_tail),
    *(zero_after_record, zero_page, flip_stored, flip_inside, flip_inside, flip_inside, swap, overwrite),
    *(other_branch, other_branch, twice, rename, no_rights, no_rights_above, of_another_system, a_directory),
    dangling,
)
HISTORIES: tuple[Mutation, ...] = (
    *(delete, history_text, history_text, history_text, swap, history_renamed, no_rights, zero_stored),
    *(flip_stored, truncate_stored, a_directory, dangling),
)
HARMLESS: tuple[Mutation, ...] = (packed_again, not_packed, strangers, copied)


def mutate(where: Mutable, near: list[str]) -> None:
    """One mutation of a file; mostly of one of those that ``near`` names. Noted in ``done``."""
    histories = [name for name in where.origin.files if name.endswith(".history")]
    names = where.origin.segments()
    if where.chance.random() < 0.15:
        name, act = where.chance.choice(histories), where.chance.choice(HISTORIES)
    else:
        name = where.chance.choice(near if where.chance.random() < 0.8 else names)
        act = where.chance.choice(SEGMENTS)
    if name in where.touched:
        return  # What has happened to it already may leave nothing to do this to.
    where.touched.add(name)
    try:
        where.done.append(f"{name}: {act(where, name)}")
    except (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError) as error:
        # An earlier mutation took its other half, or made a directory of it; whatever the state is now, it is one.
        where.done.append(f"{name}: {act.__name__} stopped half-way: {error.strerror}")


def _place(name: str) -> tuple[int, int]:
    return int(name[:8], 16), int(name[8:16], 16) * 4096 + int(name[16:24], 16)


def _other(where: Mutable, name: str) -> str:
    if name.endswith(".history"):
        return "00000002.history" if name[7] == "3" else "00000003.history"
    names = [one for one in where.origin.segments() if one != name and one not in where.touched]
    at = _place(name)[1]
    close = [one for one in names if abs(_place(one)[1] - at) <= 1]
    return where.chance.choice(close if close and where.chance.random() < 0.6 else names)
