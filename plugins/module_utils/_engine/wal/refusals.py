# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The refusals of the proof: each names the fault, the evidence and the nearest choice that does work."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from ..core.clock import format_utc
from ..core.errors import Refused
from .facts import BackupFacts, Commit, Target
from .forks import Break
from .lsn import format_lsn
from .reach import Reach
from .segment import is_history_name

_NAMES_SHOWN = 20
_WORDS = {
    "segment-missing": "missing",
    "segment-zero-filled": "filled with zeros",
    "segment-wrong-size": "of the wrong size",
    "segment-wrong-content": "holding the content of another segment",
    "segment-wrong-system": "of another database system",
    "segment-corrupt": "damaged",
    "segment-unreadable": "unreadable",
    "segment-duplicate": "there more than once",
    "history-damaged": "not true",
}


def refuse(
    code: str, target: Target, happened: str, remedy: str, details: dict[str, Any] | None = None
) -> Refused:
    """A refusal of the proof of a target."""
    return Refused(
        code,
        attempted=f"prove that a restore reaches {target.describe()}",
        happened=happened,
        remedy=remedy,
        details={"target": target.to_dict(), **(details or {})},
    )


def broken(target: Target, reached: Reach, last: Commit | None, backup: BackupFacts) -> Refused:
    """A segment on the way is missing or at fault (B01 to B08, B14)."""
    fault = reached.broken or Break("segment-missing", "", "", "")
    span = fault.first if fault.first == fault.last else f"{fault.first} to {fault.last}"
    what = "history" if is_history_name(fault.first) else "segment"
    return refuse(
        fault.code,
        target,
        f"{what} {span} is {_WORDS.get(fault.code, 'at fault')}: {fault.text}",
        f"Bring it back from a copy of the archive or from pg_wal of the server. {choose(last, backup)}",
        {
            "first": fault.first,
            "last": fault.last,
            "fault": fault.text,
            "timeline": reached.branch.timeline,
            "reachable_lsn": format_lsn(reached.end),
            "last_reachable_commit": last.to_dict() if last else None,
        },
    )


def choose(last: Commit | None, backup: BackupFacts) -> str:
    """The nearest choice that works, when the target lies too far."""
    if last is None:
        return f"No commit after the backup {backup.label} can be reached; choose an older backup's time."
    return (
        f"The last commit that can be reached is xid {last.xid} at {format_utc(last.time)}: "
        f"target LSN {format_lsn(last.lsn)} on timeline {last.timeline} restores up to and with it."
    )


def after_last_commit(
    target: Target, last: Commit | None, backup: BackupFacts, partials: Sequence[str]
) -> Refused:
    """Nothing after the target's time is archived: an idle gap, or WAL that has not arrived (A03, A04)."""
    newest = f"the newest archived commit is of {format_utc(last.time)}" if last else "no commit is archived"
    waiting = f" The unfinished segment {partials[-1]} may hold more." if partials else ""
    return refuse(
        "target-after-last-commit",
        target,
        f"the archive holds no transaction after the asked time; {newest}.{waiting}",
        "Archive the current segment (SELECT pg_switch_wal()) and try again; or allow the idle gap "
        "(--allow-idle-gap, allow_idle_gap) to get everything archived up to that time, or ask for latest. "
        f"{choose(last, backup)}",
        {"last_reachable_commit": last.to_dict() if last else None, "partial": list(partials)},
    )


def in_future(target: Target, now: datetime) -> Refused:
    """The target's time has not come yet (A03)."""
    return refuse(
        "target-in-future",
        target,
        f"the asked time is in the future; now it is {format_utc(now)}",
        "Check the zone of the asked time, or ask for 'latest' to get everything that is archived.",
        {"now": format_utc(now)},
    )


def before_oldest(target: Target, oldest: BackupFacts) -> Refused:
    """No backup ends before the target (A01, A02)."""
    return refuse(
        "target-before-oldest-backup",
        target,
        f"no verified backup ends before it; the oldest, {oldest.label}, ended at {format_utc(oldest.stopped_at)}",
        f"The earliest reachable state is the end of {oldest.label}: time {format_utc(oldest.stopped_at)} or later, "
        f"or target 'immediate' with that backup (LSN {format_lsn(oldest.stop_lsn)}).",
        {
            "oldest_backup": oldest.label,
            "earliest_time": format_utc(oldest.stopped_at),
            "earliest_lsn": format_lsn(oldest.stop_lsn),
        },
    )


def no_backup(target: Target, happened: str, labels: Iterable[str]) -> Refused:
    """There is nothing to start from (A16)."""
    known = list(labels)
    return refuse(
        "no-backup",
        target,
        happened,
        f"Choose one of these: {', '.join(known)}." if known else "Take one with 'dbkeeper backup'.",
        {"backups": known},
    )


def point_unknown(target: Target, known: Sequence[tuple[str, int]]) -> Refused:
    """No restore point has this name (A09)."""
    names = sorted({name for name, _dummy in known})
    near = get_close_matches(str(target.value), names, n=1) or names[-1:]
    remedy = "No restore point is in the archive; choose a time or an LSN."
    if names:
        remedy = (
            f"Nearest name: {near[0]!r}. Known: {', '.join(repr(name) for name in names[:_NAMES_SHOWN])}."
        )
    return refuse(
        "restore-point-unknown",
        target,
        f"no restore point called {target.value!r} can be reached from a backup",
        f"{remedy} One that was made just now is archived with its segment: SELECT pg_switch_wal().",
        {"known": [{"name": name, "lsn": format_lsn(lsn)} for name, lsn in known]},
    )


def point_ambiguous(target: Target, places: Sequence[int]) -> Refused:
    """The name was given more than once (A09)."""
    shown = [format_lsn(lsn) for lsn in places]
    return refuse(
        "restore-point-ambiguous",
        target,
        f"the name was given {len(shown)} times, at {', '.join(shown)}",
        f"Ask for the LSN of the one you mean, for instance {shown[-1]} (the newest).",
        {"lsns": shown},
    )


def xid_aborted(target: Target, lsn: int, time: datetime) -> Refused:
    """The transaction was rolled back, there is nothing of it to restore (A10)."""
    return refuse(
        "xid-aborted",
        target,
        f"transaction {target.value} was rolled back at {format_utc(time)} (LSN {format_lsn(lsn)})",
        f"To get the state at that moment ask for LSN {format_lsn(lsn)}; nothing of the transaction is in it.",
        {"lsn": format_lsn(lsn), "time": format_utc(time)},
    )


def xid_not_found(target: Target, top: int | None, last: Commit | None, backup: BackupFacts) -> Refused:
    """No end of the transaction is archived after a backup (A10)."""
    if top is not None:
        return refuse(
            "xid-not-in-archive",
            target,
            f"{target.value} is a subtransaction: only its top-level transaction {top} has a commit",
            f"Ask for xid {top}.",
            {"top_level_xid": top},
        )
    return refuse(
        "xid-not-in-archive",
        target,
        f"neither a commit nor a rollback of transaction {target.value} is archived after a backup",
        "It may still be running, or its segment may not be archived yet (SELECT pg_switch_wal()). "
        f"{choose(last, backup)}",
        {"last_reachable_commit": last.to_dict() if last else None},
    )


def lsn_out_of_range(target: Target, first: int, last: int | None, timeline: int) -> Refused:
    """The position lies before the oldest backup's end or after the end of archived WAL (A11)."""
    valid = f"{format_lsn(first)} to {format_lsn(last)}" if last is not None else f"from {format_lsn(first)}"
    return refuse(
        "lsn-out-of-range",
        target,
        f"the position is not within what can be reached on timeline {timeline}: {valid}",
        f"Choose a position in that range on timeline {timeline}; 'latest' is its end.",
        {"first_lsn": format_lsn(first), "last_lsn": format_lsn(last) if last is not None else None},
    )
