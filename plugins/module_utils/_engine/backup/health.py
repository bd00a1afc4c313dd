# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Facts against objectives: pure, one check a function, each with a sentence that says what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.check_words import told
from ..core.error_words import cause
from ..core.sayings import span
from ..core.sizes import format_bytes

OK, WARNING, FAILED = "ok", "warning", "failed"
_LEFT_BEHIND_SECONDS = 3600


@dataclass(frozen=True)
class Check:
    """One thing looked at, said in English and in Japanese."""

    name: str
    state: str
    text: str
    text_ja: str

    @classmethod
    def told(cls, check: str, state: str, word: str, /, **values: Any) -> Check:
        """With a sentence of the catalogue."""
        return cls(**told(check, state, word, **values))

    def to_dict(self) -> dict[str, str]:
        """JSON values."""
        return dict(self.__dict__)


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
    #: None: nobody could look.
    leftovers: tuple[Mapping[str, Any], ...] | None = ()
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
    #: What was measured last: ``seconds``, ``at``, ``trial`` (the dump that was loaded; None: a whole restore).
    measured: Mapping[str, Any] | None = None


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
        version, reason = server.get("version", "PostgreSQL"), server.get("reason", "running")
        return Check.told("server", OK, "server_runs", version=version, reason=reason)
    error = server.get("error")
    why = server.get("reason") or (error.get("happened") if isinstance(error, Mapping) else error)
    if why:
        return Check.told("server", FAILED, "server_not", why=str(why))
    return Check.told("server", FAILED, "server_unknown")


def _archiving(facts: Facts) -> Check:
    archiver = facts.archiver
    if archiver is None:
        return Check.told("archiving", WARNING, "unknown_server")
    if not archiver["on"]:
        return Check.told("archiving", FAILED, "archiving_off")
    if archiver["failing"]:
        name, count = archiver["last_failed_wal"], archiver["ready_segments"]
        return Check.told("archiving", FAILED, "archiving_fails", name=name, count=count)
    if not archiver["last_archived_wal"]:
        return Check.told("archiving", OK, "archiving_first")
    return Check.told("archiving", OK, "archiving_ok", name=archiver["last_archived_wal"])


def _rpo(facts: Facts) -> Check:
    goal = span(facts.rpo_seconds)
    waiting = facts.unarchived_seconds
    if waiting is not None and waiting > facts.rpo_seconds:
        return Check.told("rpo", FAILED, "rpo_waits", age=span(waiting), goal=goal)
    if facts.archiver is None:
        return Check.told("rpo", WARNING, "unknown_server")
    if waiting is None:
        return Check.told("rpo", FAILED, "rpo_unknown")
    timeout = int(facts.archiver["archive_timeout_seconds"])
    if not 0 < timeout <= facts.rpo_seconds:
        return Check.told("rpo", FAILED, "rpo_timeout", timeout=timeout, wanted=facts.rpo_seconds // 3)
    return Check.told("rpo", OK, "rpo_ok", age=span(timeout), goal=goal)


def newest_backup(label: str | None, age_seconds: float | None, goal_seconds: int) -> Check:
    """The newest good backup of any kind."""
    if label is None or age_seconds is None:
        return Check.told("backup", FAILED, "backup_none")
    if age_seconds < -60:
        return Check.told("backup", WARNING, "backup_future", label=label)
    late = age_seconds > goal_seconds
    values = {"label": label, "age": span(max(0.0, age_seconds)), "goal": span(goal_seconds)}
    return Check.told("backup", FAILED if late else OK, "backup_old" if late else "backup_ok", **values)


def _backup(facts: Facts) -> Check:
    return newest_backup(facts.newest_backup, facts.newest_backup_age_seconds, facts.backup_age_seconds)


def _catalog(facts: Facts) -> Check:
    return catalog(facts.damaged, facts.unsound, facts.broken_chains)


def catalog(
    damaged: Sequence[str], unsound: Sequence[Mapping[str, Any]], broken_chains: Sequence[Mapping[str, Any]]
) -> Check:
    """Whether the entries can be read, and what they are about is good."""
    if damaged:
        return Check.told("catalog", FAILED, "catalog_damaged", what=", ".join(damaged))
    for found, state, word in (
        (unsound, FAILED, "catalog_unsound"),
        (broken_chains, WARNING, "catalog_chain"),
    ):
        if found:
            label, text = found[0]["label"], found[0]["text"]
            return Check.told("catalog", state, word, count=len(found), label=label, text=text)
    return Check.told("catalog", OK, "catalog_ok")


def _pages(facts: Facts) -> Check:
    if not facts.page_faults:
        return Check.told("pages", OK, "pages_ok")
    newest = facts.page_faults[-1]
    values = {"label": newest["label"], "faults": newest["faults"]}
    if newest["label"] == facts.newest_copy:
        return Check.told("pages", FAILED, "pages_live", **values)
    return Check.told("pages", WARNING, "pages_old", **values)


def _archive(facts: Facts) -> Check:
    if facts.archive_error:
        return Check.told("archive", FAILED, "caused", cause=cause(facts.archive_error))
    if facts.gaps:
        gap = {name: facts.gaps[0][name] for name in ("code", "first", "last")}
        # A gap that a newer backup has left behind costs history, not tomorrow.
        return Check.told("archive", FAILED if _newest_is_broken(facts) else WARNING, "archive_gap", **gap)
    if facts.conflicts:
        count, first = len(facts.conflicts), facts.conflicts[0]
        return Check.told("archive", FAILED, "archive_conflicts", count=count, first=first)
    if facts.faulty:
        count, first = len(facts.faulty), facts.faulty[0]["name"]
        return Check.told("archive", WARNING, "archive_faulty", count=count, first=first)
    return Check.told("archive", OK, "archive_ok")


def _leftovers(facts: Facts) -> Check:
    """B16: what is younger may belong to work that is going on."""
    if facts.leftovers is None:
        return Check.told("leftovers", WARNING, "leftovers_unknown")
    old = [item for item in facts.leftovers if item["age_seconds"] > _LEFT_BEHIND_SECONDS]
    if not old:
        return Check.told("leftovers", OK, "leftovers_ok")
    return Check.told(
        "leftovers",
        WARNING,
        "leftovers",
        count=len(old),
        size=format_bytes(sum(item["bytes"] for item in old)),
        first=old[0]["path"],
        age=span(old[0]["age_seconds"]),
    )


def _newest_is_broken(facts: Facts) -> bool:
    return any(
        window["broken"] and facts.newest_backup in window["backups"] for window in facts.windows
    ) or not any(facts.newest_backup in window["backups"] for window in facts.windows)


def _windows(facts: Facts) -> Check:
    usable = [window for window in facts.windows if window["backups"]]
    if not usable:
        return Check.told("window", FAILED, "window_none")
    newest = usable[-1]
    return Check.told(
        "window", OK, "window_ok", timeline=newest["timeline"], begin=newest["from"], end=newest["until"]
    )


def _rto(facts: Facts) -> Check:
    """What was measured, never what was hoped for; that it was a dump only is said."""
    goal, found = span(facts.rto_seconds), facts.measured
    if found is None:
        return Check.told("rto", WARNING, "rto_never", goal=goal)
    late = float(found["seconds"]) > facts.rto_seconds
    state = FAILED if late else OK
    values = {"at": str(found["at"])[:10], "age": span(float(found["seconds"])), "goal": goal}
    if found.get("trial"):
        word = "rto_trial_late" if late else "rto_trial"
        return Check.told("rto", state, word, what=found["trial"], **values)
    return Check.told("rto", state, "rto_restore_late" if late else "rto_restore", **values)


def _disk(facts: Facts) -> Check:
    return disk(facts.free_bytes, facts.largest_backup_bytes)


def disk(free_bytes: int, largest_backup_bytes: int) -> Check:
    """Whether the next backup has room."""
    free, need = format_bytes(free_bytes), largest_backup_bytes
    if need and free_bytes < need:
        return Check.told("disk", FAILED, "disk_small", free=free, need=format_bytes(need))
    if need and free_bytes < 2 * need:
        return Check.told("disk", WARNING, "disk_one", free=free)
    return Check.told("disk", OK, "disk_ok", free=free)
