# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Unfinished segments (fault B15): what ``N.partial`` holds where the whole segment N never came.

A promoted standby archives the last segment of the timeline that it has left under such a name, and pg_receivewal
writes its newest one so. It may hold commits that nothing else holds. It ends somewhere: nothing proves that it holds
all that was written, so it is taken only where somebody says so, and only up to its last sound record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..core.clock import format_utc
from ..core.errors import KeeperError, Refused
from .archive import Archive, predecessors
from .content import PLAIN, kind_of
from .facts import Proof
from .identity import ArchiveFacts
from .lsn import format_lsn
from .page import SegmentFault
from .reach import Step
from .reader import Reader
from .scratch import workspace
from .segment import is_segment_name, next_segment, parse_segment, segment_name
from .source import StoredWal, WalSource
from .waldump import WalDump

PARTIAL = ".partial"
#: Refusals that more WAL at the end of the archive may lift.
_MAY_BE_LIFTED = (
    "target-after-last-commit",
    "xid-not-in-archive",
    "restore-point-unknown",
    "lsn-out-of-range",
    "segment-missing",
)


def unused(archive: Archive) -> tuple[str, ...]:
    """The unfinished segments of which the whole one is not there either."""
    return tuple(name for name in archive.partials if name[: -len(PARTIAL)] not in archive.entries)


def with_unfinished(
    archive: Archive, source: WalSource, dump: WalDump, facts: ArchiveFacts, directory: str
) -> tuple[Archive, Mapping[str, str]]:
    """The archive with its unfinished segments as if they were whole ones that end early (``Entry.end_lsn``).

    Second, those that are left out, and why: of another place or system, unreadable, or without a sound record.
    """
    files = {stored.name: stored for stored in source.list_files()}
    segments = {name: stored for name, stored in files.items() if is_segment_name(name)}
    entries = dict(archive.entries)

    def obtain(stored: StoredWal, path: str) -> str:
        # An unfinished one is known by its plain bytes, a whole one before it as the index knows it.
        known = archive.entries.get(stored.name)
        return source.fetch(stored.name, path, kind_of(known.digest) if known else PLAIN)

    reader = Reader(dump, facts.system_id, obtain)
    left_out: dict[str, str] = {}
    for name in unused(archive):
        stem = name[: -len(PARTIAL)]
        try:
            segment = parse_segment(stem, facts.segment_bytes)
            before = predecessors(segment, archive.timelines, segments, facts.segment_bytes)
            with workspace(directory) as space:
                entry = reader.read_unfinished(segment, files[name], before, space)
            entries[stem] = replace(entry, name=stem)
        except SegmentFault as fault:
            left_out[name] = fault.text
        except (KeeperError, KeyError) as error:
            left_out[name] = error.happened if isinstance(error, KeeperError) else "it is gone"
    return replace(archive, entries=entries), left_out


def mention(refusal: Refused, archive: Archive) -> Refused:
    """The refusal, and what might lift it: an unfinished segment that nobody has agreed to use."""
    names = unused(archive)
    if names and refusal.code in _MAY_BE_LIFTED:
        listed = ", ".join(names)
        if listed not in refusal.happened:
            refusal.happened += f". Not used: {listed}, of which the whole segment never came"
        refusal.remedy += (
            f" With use_partial (--use-partial) what is sound in {listed} is taken in; plan that first."
        )
        refusal.details.setdefault("partial", list(names))
    return refusal


def not_used(proof: Proof, archive: Archive) -> tuple[str, ...]:
    """What a plan for the end of the archive says of an unfinished segment that goes on just there."""
    if proof.target.kind != "latest" and not proof.target.allow_idle_gap:
        return ()
    last = parse_segment(proof.segments[-1].name, archive.segment_bytes)
    following = segment_name(next_segment(last), archive.segment_bytes) + PARTIAL
    if following not in unused(archive):
        return ()
    return (
        f"the archive goes on with the unfinished segment {following}, which is not used: with use_partial "
        "(--use-partial) what is sound in it is taken in",
    )


def used(steps: Sequence[Step]) -> tuple[dict[str, Any], ...]:
    """The unfinished segments among those of a proof, and what each adds, in JSON values."""
    found = []
    for step in steps:
        entry = step.entry
        if entry.end_lsn is None:
            continue
        newest = entry.last_commit
        found.append(
            {
                "name": entry.name + PARTIAL,
                "segment": entry.name,
                "end_lsn": format_lsn(entry.end_lsn),
                "commits": entry.commits,
                "newest_commit": format_utc(newest.moment) if newest else None,
                "ragged": entry.is_ragged,
            }
        )
    return tuple(found)
