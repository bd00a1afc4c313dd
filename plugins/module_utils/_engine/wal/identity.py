# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Whose archive it is: what must be known before its segments can be read."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass

from ..core.errors import KeeperError, Refused
from .content import CHEAPEST
from .page import HEADER_BYTES, parse_header
from .segment import SIZES_BYTES, is_segment_name
from .source import WalSource

_ASKED = 5


@dataclass(frozen=True)
class ArchiveFacts:
    """System identifier, segment size in bytes and major version."""

    system_id: int
    segment_bytes: int
    major: int


def facts_of_file(path: str) -> ArchiveFacts:
    """What a plain segment says of itself. Raises ValueError when it is none, OSError when unreadable."""
    with open(path, "rb", buffering=0) as handle:
        header = parse_header(handle.read(HEADER_BYTES))
    if header.major is None or header.segment_bytes not in SIZES_BYTES:
        raise ValueError(f"{path} does not begin as a WAL segment does")
    return ArchiveFacts(header.system_id, header.segment_bytes, header.major)


def identify(source: WalSource, system_id: str, space: str) -> ArchiveFacts | None:
    """What most of a few segments say, the newest first; None for an archive that has none.

    ``system_id`` is the archive's name: segments of other systems have no vote. Raises :class:`Refused`
    (``segment-unreadable``) when there are some and none has a vote: that is not an archive with nothing in it (B08).
    """
    why = ""
    votes: Counter[ArchiveFacts] = Counter()
    names = sorted({stored.name for stored in source.list_files() if is_segment_name(stored.name)})
    path = os.path.join(space, "first-page")
    for name in reversed(names):
        try:
            source.fetch(name, path, CHEAPEST)
            facts = facts_of_file(path)
        except KeeperError as error:
            why = why or error.happened
            continue
        except ValueError:
            why = why or f"{name} does not begin as a WAL segment does"
            continue
        if not system_id.isdigit() or facts.system_id == int(system_id):
            votes[facts] += 1
        else:
            why = why or f"{name} is of system {facts.system_id}"
        # The others could not outvote it.
        if sum(votes.values()) >= _ASKED or votes[facts] > _ASKED // 2:
            break
    if names and not votes:
        raise Refused(
            "segment-unreadable",
            attempted=f"learn whose archive {system_id} is",
            happened=f"none of its {len(names)} segments can be read as one of this system's; the newest: {why}",
            remedy="Give the cluster's owner access to the archive, mend its mount, or bring it back from a copy.",
            details={"segments": len(names)},
        )
    return votes.most_common(1)[0][0] if votes else None
