# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Facts against objectives: pure, one check a function, each with a sentence that says what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..core.sizes import format_bytes, format_duration

OK, WARNING, FAILED = "ok", "warning", "failed"
_LEFT_BEHIND_SECONDS = 3600


@dataclass(frozen=True)
class Check:
    """One thing looked at."""

    name: str
    state: str
    text: str

    def to_dict(self) -> dict[str, str]:
        """JSON values."""
        return {"name": self.name, "state": self.state, "text": self.text}


@dataclass(frozen=True)
class Facts:
    """What is judged; see :func:`.info.information` for where it comes from."""

    rpo_seconds: int
    rto_seconds: int
    #: A base backup each day is the custom, with six hours for what may come between.
    backup_age_seconds: int = 108000
    newest_backup: str | None = None
    newest_backup_age_seconds: float | None = None
    unarchived_seconds: float | None = None
    windows: tuple[Mapping[str, Any], ...] = ()
    gaps: tuple[Mapping[str, Any], ...] = ()
    faulty: tuple[Mapping[str, Any], ...] = ()
    conflicts: tuple[str, ...] = ()
    leftovers: tuple[Mapping[str, Any], ...] = ()
    archive_error: Mapping[str, Any] | None = None
    damaged: tuple[str, ...] = ()
    broken_chains: tuple[Mapping[str, Any], ...] = ()
    #: Whose stored files a verification found damaged: label and ``text``.
    unsound: tuple[Mapping[str, Any], ...] = ()
    #: Of the system's newest copy, and of all of them, oldest first: label and ``faults``, in words.
    page_faults: tuple[Mapping[str, Any], ...] = ()
    newest_copy: str | None = None
    server: Mapping[str, Any] | None = None
    archiver: Mapping[str, Any] | None = None
    free_bytes: int = 0
    largest_backup_bytes: int = 0
    last_restore_seconds: float | None = None


def judge(facts: Facts) -> list[Check]:
    """All checks, always the same names in the same order."""
    looked_at = (
        _server,
        _archiving,
        _rpo,
        _backup,
        _catalog,
        _pages,
        _archive,
        _leftovers,
        _windows,
        _rto,
        _disk,
    )
    return [look(facts) for look in looked_at]


def _server(facts: Facts) -> Check:
    server = facts.server or {}
    if server.get("running"):
        return Check(
            "server", OK, f"{server.get('version', 'PostgreSQL')}, {server.get('reason', 'running')}"
        )
    return Check("server", FAILED, str(server.get("reason") or server.get("error") or "it is not known"))


def _archiving(facts: Facts) -> Check:
    archiver = facts.archiver
    if archiver is None:
        return Check("archiving", WARNING, "not known, as no server answers")
    if not archiver["on"]:
        return Check("archiving", FAILED, "archive_mode or archive_command is not set: run the backup role")
    if archiver["failing"]:
        text = f"fails at {archiver['last_failed_wal']} ({archiver['ready_segments']} wait): see the server's log"
        return Check("archiving", FAILED, text)
    return Check("archiving", OK, f"last archived {archiver['last_archived_wal'] or 'nothing yet'}")


def _rpo(facts: Facts) -> Check:
    goal = format_duration(facts.rpo_seconds)
    waiting = facts.unarchived_seconds
    if waiting is not None and waiting > facts.rpo_seconds:
        text = (
            f"WAL has been waiting for the archiver for {format_duration(waiting)}, the objective is {goal}"
        )
        return Check("rpo", FAILED, text)
    if facts.archiver is None:
        return Check("rpo", WARNING, "not known, as no server answers")
    timeout = int(facts.archiver["archive_timeout_seconds"])
    if not 0 < timeout <= facts.rpo_seconds:
        text = f"archive_timeout is {timeout} s, so a quiet hour may be lost: set {facts.rpo_seconds // 3} s or less"
        return Check("rpo", FAILED, text)
    return Check(
        "rpo",
        OK,
        f"a segment leaves the server after {format_duration(timeout)} at most, the objective is {goal}",
    )


def _backup(facts: Facts) -> Check:
    age = facts.newest_backup_age_seconds
    if facts.newest_backup is None or age is None:
        return Check("backup", FAILED, "there is no verified backup of this system: dbkeeper backup")
    text = f"{facts.newest_backup} is {format_duration(max(0.0, age))} old"
    if age < -60:
        return Check(
            "backup", WARNING, f"{facts.newest_backup} ended in the future: this host's clock is wrong"
        )
    goal = format_duration(facts.backup_age_seconds)
    if age > facts.backup_age_seconds:
        return Check("backup", FAILED, f"{text}, the objective is {goal}: see why the schedule does not run")
    return Check("backup", OK, f"{text}, the objective is {goal}")


def _catalog(facts: Facts) -> Check:
    if facts.damaged:
        return Check("catalog", FAILED, f"entries that cannot be read: {', '.join(facts.damaged)}")
    if facts.unsound:
        first = facts.unsound[0]
        text = (
            f"{len(facts.unsound)} backups are damaged, {first['label']} first: {first['text']}. Bring the files back "
            f"from a copy and run dbkeeper verify {first['label']}, or take a new backup"
        )
        return Check("catalog", FAILED, text)
    if facts.broken_chains:
        first = facts.broken_chains[0]
        text = f"{len(facts.broken_chains)} incremental backups are worth nothing, {first['label']} first: "
        return Check("catalog", WARNING, text + str(first["text"]))
    return Check("catalog", OK, "every entry can be read, every chain is whole")


def _pages(facts: Facts) -> Check:
    if not facts.page_faults:
        return Check("pages", OK, "no backup has damaged pages")
    newest = facts.page_faults[-1]
    text = f"backup {newest['label']} has {newest['faults']}"
    if newest["label"] == facts.newest_copy:
        return Check(
            "pages", FAILED, f"{text}: the live cluster is damaged. Look at its disk, and plan a restore"
        )
    return Check("pages", WARNING, f"{text}; newer ones have none")


def _archive(facts: Facts) -> Check:
    if facts.archive_error:
        return Check("archive", FAILED, f"{facts.archive_error['code']}: {facts.archive_error['happened']}")
    if facts.gaps:
        gap = facts.gaps[0]
        text = f"{gap['code']} from {gap['first']} to {gap['last']}: nothing after it can be restored from before it"
        # A gap that a newer backup has left behind costs history, not tomorrow.
        return Check("archive", FAILED if _newest_is_broken(facts) else WARNING, text)
    if facts.conflicts:
        text = (
            f"{len(facts.conflicts)} files were kept aside, {facts.conflicts[0]} first: their names were archived "
            "with other content, so two servers may write to this archive. See which one is alive, then remove them"
        )
        return Check("archive", FAILED, text)
    if facts.faulty:
        return Check(
            "archive", WARNING, f"{len(facts.faulty)} damaged segments, {facts.faulty[0]['name']} first"
        )
    return Check("archive", OK, "no gap and no damaged segment")


def _leftovers(facts: Facts) -> Check:
    """B16: what is younger may belong to work that is going on."""
    old = [item for item in facts.leftovers if item["age_seconds"] > _LEFT_BEHIND_SECONDS]
    if not old:
        return Check("leftovers", OK, "no file that nobody uses")
    first = old[0]
    text = (
        f"{len(old)} files that nobody uses, {format_bytes(sum(item['bytes'] for item in old))}: {first['path']} is "
        f"{format_duration(first['age_seconds'])} old. They are ignored; remove them by name when no work is going on"
    )
    return Check("leftovers", WARNING, text)


def _newest_is_broken(facts: Facts) -> bool:
    return any(
        window["broken"] and facts.newest_backup in window["backups"] for window in facts.windows
    ) or not any(facts.newest_backup in window["backups"] for window in facts.windows)


def _windows(facts: Facts) -> Check:
    usable = [window for window in facts.windows if window["backups"]]
    if not usable:
        return Check("window", FAILED, "nothing can be restored")
    newest = usable[-1]
    return Check("window", OK, f"timeline {newest['timeline']}: {newest['from']} to {newest['until']}")


def _rto(facts: Facts) -> Check:
    goal, last = format_duration(facts.rto_seconds), facts.last_restore_seconds
    if last is None:
        return Check("rto", WARNING, f"no restore has been measured here; the objective is {goal}")
    text = f"the last restore took {format_duration(last)}, the objective is {goal}"
    return Check("rto", OK if last <= facts.rto_seconds else FAILED, text)


def _disk(facts: Facts) -> Check:
    free, need = format_bytes(facts.free_bytes), facts.largest_backup_bytes
    if need and facts.free_bytes < need:
        return Check(
            "disk", FAILED, f"{free} free in the repository, the largest backup has {format_bytes(need)}"
        )
    if need and facts.free_bytes < 2 * need:
        return Check("disk", WARNING, f"{free} free in the repository: room for one more backup")
    return Check("disk", OK, f"{free} free in the repository")
