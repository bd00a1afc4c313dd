# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The archived WAL verified: its stored bytes still unpack to what the index knows, and lead from each backup to now.

Bytes that rot change no date and no size, so only reading tells. What differs is taken out of the index and judged
anew, which makes plans and checks know it at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..backup.windows import Window, gaps, windows
from ..core.clock import format_utc
from ..core.errors import KeeperError
from ..repository.catalog import Backup
from ..repository.layout import Repository
from ..repository.source import NativeWalSource
from ..wal.archive import Archive
from ..wal.content import kind_of
from ..wal.index import WalIndex
from ..wal.segment import is_segment_name
from .gentle import Throttle, forget
from .verify_plan import Sweep

#: So often the place is written down: what a killed run has to read again at most.
KEEP_EVERY = 64


@dataclass(frozen=True)
class Reread:
    """What reading again gave: names that were other than the index said."""

    segments: int
    doubted: tuple[str, ...]


def reread(
    repository: Repository,
    system_id: int,
    archive: Archive,
    plan: Sweep,
    throttle: Throttle,
    *,
    told: Callable[[int], None],
    keep: Callable[[int], None],
) -> Reread:
    """Read the planned segments. ``keep`` is told now and then how many of them are done."""
    source = NativeWalSource(repository, system_id)
    index = WalIndex(repository.index(system_id))
    sizes = sizes_of(source)
    doubted: list[str] = []
    for count, name in enumerate(plan.names, 1):
        entry = archive.entries.get(name)
        if entry is not None and entry.digest is not None:
            try:
                found = source.fetch(name, None, kind_of(entry.digest))
            except KeeperError as error:
                # An expiry may have taken it meanwhile; whether it is missed the proof says.
                found = error.code
            if found != entry.digest:
                index.doubt(name)
                doubted.append(name)
            for path in source.paths(name):
                forget(path)
        throttle.took(sizes.get(name, 0))
        told(sizes.get(name, 0))
        if count % KEEP_EVERY == 0 or count == len(plan.names):
            keep(count)
    return Reread(len(plan.names), tuple(doubted))


def sizes_of(source: NativeWalSource) -> dict[str, int]:
    """Segment -> stored bytes."""
    return {one.name: one.stored_bytes for one in source.list_files() if is_segment_name(one.name)}


def archive_faults(archive: Archive) -> list[dict[str, str]]:
    """Segments that no replay may pass."""
    return [
        {"name": name, "code": entry.fault[0], "text": entry.fault[1]}
        for name, entry in sorted(archive.entries.items())
        if entry.fault is not None
    ]


def continuity(
    backups: Sequence[Backup], archive: Archive, required: Mapping[str, bool]
) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """For each backup how far its WAL leads: ``result`` (good, bad), ``until``, ``code``, ``text``; and the gaps.

    Bad is one whose own WAL is not whole, and one from which every moment is promised (``required``) and not there.
    WAL that the policy has let go is no gap of a backup that is kept for itself.
    """
    lines = windows([backup.facts() for backup in backups], archive)
    newest = max((line.timeline for line in lines), default=0)
    found: dict[str, dict[str, Any]] = {}
    for backup in backups:
        mine = [line for line in lines if backup.label in line.backups]
        # The present lies on the newest timeline; one that does not lead there is judged on its own line.
        mine.sort(key=lambda line: (line.timeline == newest, line.broken is None, line.timeline))
        if not mine:
            broken = next((line for line in lines if line.begin_lsn == backup.stop_lsn and line.broken), None)
            found[backup.label] = {"result": "bad", "until": None, **_break(broken)}
            continue
        line = mine[-1]
        fault = line.broken is not None and required.get(backup.label, True)
        found[backup.label] = {
            "result": "bad" if fault else "good",
            "until": format_utc(line.until or line.begin),
            "timeline": line.timeline,
            **(_break(line) if line.broken else {}),
        }
    return found, gaps(lines, required)


def _break(line: Window | None) -> dict[str, Any]:
    if line is None or line.broken is None:
        return {"code": "segment-missing", "text": "the WAL that was written while it was taken is not there"}
    return {"code": line.broken.code, "text": line.broken.text, "first": line.broken.first}
