# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Files as they may be shown: no password, no key, nothing that leads to one. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .text import parse

WITHHELD = "'(not shown)'"
_SECRET_NAME = re.compile(r"passphrase|password|passwd|secret|token|credential|conninfo|api_?key|access_?key")
_SECRET_VALUE = re.compile(r"passw|passphrase|secret|token|://[^/ ]+:[^/ ]+@", re.I)
_SECRET_OPTION = re.compile(r"\b(ldapbindpasswd|radiussecrets)=(\"[^\"]*\"|\S+)")


def shown(text: str, role: str) -> str:
    """A file's text without what is secret in it."""
    if role != "settings":
        return _SECRET_OPTION.sub(r"\1=(not shown)", text)
    lines = text.split("\n")
    for line in parse(text)[0]:
        if is_secret(line.name, line.value):
            lines[line.number - 1] = f"{line.name} = {WITHHELD}"
    return "\n".join(lines)


def is_secret(name: str, value: str) -> bool:
    """Whether a setting may hold a secret."""
    return bool(_SECRET_NAME.search(name)) or bool(_SECRET_VALUE.search(value))


def shown_files(files: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The option ``files`` of the module as it may be repeated."""
    return [{**file, "content": shown(str(file["content"]), str(file["role"]))} for file in files]
