# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Files that several roles write: each has a block of its own, on top of the rest. Pure."""

from __future__ import annotations

import re

from .request import FileRequest

_ANY = re.compile(r"^# BEGIN dbkeeper\.ops ([^\n]*)\n(.*?)^# END dbkeeper\.ops [^\n]*(?:\n|\Z)", re.M | re.S)


def wanted_text(file: FileRequest, current: str | None) -> str:
    """What the file must hold: the content, and what others have put into it."""
    content = ended(file.content)
    if file.role == "settings":
        return content
    current = current or ""
    if file.block is None:
        return "".join(ended(block[0]) for block in _ANY.finditer(current)) + content
    block = f"# BEGIN dbkeeper.ops {file.block}\n{content}# END dbkeeper.ops {file.block}\n"
    mine = re.compile(
        rf"^# BEGIN dbkeeper\.ops {re.escape(file.block)}\n.*?^# END dbkeeper\.ops {re.escape(file.block)}(?:\n|\Z)",
        re.M | re.S,
    )
    if mine.search(current):
        return mine.sub(lambda _match: block, current, count=1)
    return block + current


def blocks_of(text: str) -> list[tuple[str, str]]:
    """Name and content of each block in a file."""
    return [(block[1], block[2]) for block in _ANY.finditer(text)]


def ended(text: str) -> str:
    """The text with its last line ended; nothing stays nothing."""
    return text if text.endswith("\n") or not text else text + "\n"
