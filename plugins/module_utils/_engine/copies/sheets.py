# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Sheets: what a copy holds, written into the copy itself, so that it can be brought back when this host is gone.

There is one for each group. It is written after the objects that it names; what lies in the copy and is on no sheet is
looked at again. With encryption, names, sizes, times and digests can be read without the private key, contents cannot.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ..core.errors import Failed

FORMAT = 1
DIRECTORY = "sheets"
#: More is to come; all is there; it is being removed.
PARTIAL, WHOLE, GOING = "partial", "whole", "going"
STATES = (PARTIAL, WHOLE, GOING)


@dataclass(frozen=True)
class Kept:
    """An object in the copy, stored as ``name``: ``bytes`` and ``digest`` (SHA-256) as it lies there, ``plain_*`` as it
    was in the repository. ``modified_at``: when the file was finished there (seconds since 1970)."""

    name: str
    bytes: int
    digest: str
    plain_bytes: int
    plain_digest: str
    signature: str
    modified_at: float


@dataclass(frozen=True)
class Sheet:
    """``objects`` by their key in the repository."""

    group: str
    kind: str
    state: str = PARTIAL
    facts: dict[str, Any] = field(default_factory=dict)
    objects: dict[str, Kept] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Where it lies in the copy."""
        return f"{DIRECTORY}/{self.group}.json"

    @property
    def stored_bytes(self) -> int:
        """Stored bytes of its objects."""
        return sum(one.bytes for one in self.objects.values())

    def having(self, key: str, kept: Kept) -> Sheet:
        """With one more object."""
        return replace(self, objects={**self.objects, key: kept})

    def without(self, keys: set[str]) -> Sheet:
        """With fewer."""
        return replace(self, objects={key: one for key, one in self.objects.items() if key not in keys})

    def to_bytes(self) -> bytes:
        """JSON."""
        value = {"format": FORMAT, **asdict(self)}
        return (json.dumps(value, ensure_ascii=False, sort_keys=True) + "\n").encode()


def read_sheet(data: bytes, where: str) -> Sheet:
    """Raises :class:`Failed` ``copy-sheet-damaged``."""
    try:
        value = json.loads(data)
        if value.pop("format") != FORMAT or value["state"] not in STATES:
            raise ValueError("it is of another format")
        objects = {key: Kept(**one) for key, one in value.pop("objects").items()}
        paths = [value["group"], *objects, *(one.name for one in objects.values())]
        for path in paths:
            if path.startswith("/") or ".." in path.split("/"):
                raise ValueError(f"{path!r} leads out of the copy")
        return Sheet(**value, objects=objects)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Failed(
            "copy-sheet-damaged",
            attempted="read what a copy holds",
            happened=f"{where}: {type(error).__name__}: {error}",
            remedy="Remove that file from the copy: what it named is looked at again and what is missing is sent "
            "again, as long as the repository has it.",
            details={"sheet": where},
        ) from error
