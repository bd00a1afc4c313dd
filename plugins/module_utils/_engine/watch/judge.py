# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Facts held against objectives: pure, one check a function, each says the objective and what to do.

What was judged before (see :mod:`backup.health`) stays there; here is what needs the history, dumps, copies,
verifications or the server's own WAL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..core.clock import format_utc, parse_utc
from ..core.error_words import cause
from ..core.sayings import Both, joined, span
from ..core.sizes import format_bytes
from .finding import FAILED, OK, WARNING, Finding, Measure, worst
from .history import REFUSED
from .space import Forecast
from .words import say

#: Files waiting for the archiver before that is worth a word.
_MANY_WAITING = 32
#: Of what is usual: what is smaller than that has lost something, what is larger may not fit.
SMALL, LARGE, LONG = 0.5, 2.0, 3.0
#: A run that is this much longer in seconds than usual is worth a word, however short it is.
_LONGER_SECONDS = 60.0
#: Progress is told twice a second; nothing for so long is none.
STILL_SECONDS = 1800.0
#: And no run is thought to take longer, where nothing is known of it.
_LONGEST_SECONDS = 86400.0


def full_backup(label: str | None, age_seconds: float | None, goal_seconds: int) -> Finding:
    """The newest good full backup."""
    goal = span(goal_seconds)
    if label is None or age_seconds is None:
        return Finding.told("full-backup", FAILED, "full_none")
    late = age_seconds > goal_seconds
    return Finding.told(
        "full-backup",
        FAILED if late else OK,
        "full_old" if late else "full_ok",
        Measure("full_backup_age_seconds", max(0.0, age_seconds), most=goal_seconds),
        label=label,
        age=span(max(0.0, age_seconds)),
        goal=goal,
    )


@dataclass(frozen=True)
class Exposure:
    """Work that exists on the server only. ``first_commit``: the oldest that is not archived; ``behind_seconds``:
    of a receiver that streams all the same; ``unknown``: why nothing is known."""

    first_commit: datetime | None = None
    newest_archived: str | None = None
    behind_seconds: float | None = None
    in_recovery: bool = False
    unknown: str | None = None


def rpo_now(found: Exposure, now: datetime, goal_seconds: int) -> Finding:
    """What would be lost if the host burned down this moment."""
    if found.unknown is not None:
        return Finding.told("rpo-now", WARNING, "unknown_why", why=found.unknown)
    if found.in_recovery:
        return Finding.told("rpo-now", OK, "now_standby")
    goal = span(goal_seconds)
    if found.behind_seconds is not None:
        return Finding.told(
            "rpo-now",
            FAILED if found.behind_seconds > goal_seconds else OK,
            "now_behind",
            Measure("rpo_now_seconds", found.behind_seconds, most=goal_seconds),
            age=span(found.behind_seconds),
            goal=goal,
        )
    newest = {language: found.newest_archived or say("never", language) for language in ("en", "ja")}
    if found.first_commit is None:
        measure = Measure("rpo_now_seconds", 0.0, most=goal_seconds)
        return Finding(
            "rpo-now",
            OK,
            say("now_none", "en", newest=newest["en"]),
            say("now_none", "ja", newest=newest["ja"]),
            (measure,),
        )
    lost = max(0.0, (now - found.first_commit).total_seconds())
    values = {"since": format_utc(found.first_commit), "age": span(lost), "goal": goal}
    return Finding(
        "rpo-now",
        FAILED if lost > goal_seconds else OK,
        say("now_some", "en", newest=newest["en"], **values),
        say("now_some", "ja", newest=newest["ja"], **values),
        (Measure("rpo_now_seconds", round(lost, 1), most=goal_seconds),),
    )


def arrival(last_archived: str | None, *, there: bool) -> Finding:
    """Whether what the server calls archived is where it should be."""
    if last_archived is None:
        return Finding.told("arrival", OK, "arrival_none")
    if there:
        return Finding.told("arrival", OK, "arrival_ok", name=last_archived)
    return Finding.told("arrival", FAILED, "arrival_missing", name=last_archived)


def backlog(count: int, waiting_bytes: int, free_bytes: int) -> Finding:
    """WAL that waits for the archiver, and whether the server has room for more of it."""
    values = {"count": count, "size": format_bytes(waiting_bytes), "free": format_bytes(free_bytes)}
    measures = (
        Measure("wal_waiting_files", count, most=_MANY_WAITING),
        Measure("wal_waiting_bytes", waiting_bytes),
        Measure("wal_disk_free_bytes", free_bytes),
    )
    if count and free_bytes < 2 * waiting_bytes:
        return Finding.told("backlog", FAILED, "backlog_full", *measures, **values)
    if count > _MANY_WAITING:
        return Finding.told("backlog", WARNING, "backlog_many", *measures, **values)
    return Finding.told("backlog", OK, "backlog_ok", *measures, **values)


def space(free_bytes: int, total_bytes: int, forecast: Forecast | None, goal_days: int) -> Finding:
    """How long the repository's disk lasts."""
    sizes = {"free": format_bytes(free_bytes), "total": format_bytes(total_bytes)}
    measures = (Measure("repository_free_bytes", free_bytes), Measure("repository_size_bytes", total_bytes))
    if forecast is None:
        return Finding.told("space", OK, "space_unknown", *measures, **sizes)
    if forecast.days is None:
        return Finding.told("space", OK, "space_steady", *measures, **sizes)
    days = Measure("repository_full_in_days", round(forecast.days, 2), least=goal_days)
    state = OK if forecast.days >= goal_days else FAILED if forecast.days < min(2, goal_days) else WARNING
    return Finding.told(
        "space", state, "space_ok", *measures, days, **sizes, days=f"{forecast.days:.1f}", goal=goal_days
    )


def sizes(trends: Mapping[str, Mapping[str, Any]]) -> Finding:
    """A backup that shrinks has lost something; one that grows may not fit the next time."""
    said: list[tuple[str, str, dict[str, Any]]] = []
    measures = []
    compared = 0
    for name, trend in trends.items():
        found = trend["bytes"]
        # An incremental backup is as large as the day was busy.
        if not name.startswith(("backup/full", "dump")) or found["factor"] is None:
            continue
        compared += 1
        measures.append(Measure("size_ratio", found["factor"], most=LARGE, least=SMALL, about=name))
        values = {
            "what": name,
            "newest": format_bytes(found["newest"]),
            "usual": format_bytes(found["median"]),
            "factor": f"{found['factor']:.2f}",
        }
        if found["factor"] < SMALL:
            said.append((FAILED, "size_small", values))
        elif found["factor"] > LARGE:
            said.append((WARNING, "size_large", values))
    return _several("size", said, "size_ok" if compared else "size_first", measures)


def durations(trends: Mapping[str, Mapping[str, Any]]) -> Finding:
    """A run that takes far longer than it did has a reason."""
    said: list[tuple[str, str, dict[str, Any]]] = []
    measures = []
    for name, trend in trends.items():
        found = trend["seconds"]
        if found["factor"] is None or name.startswith(("restore", "undo", "notify")):
            continue
        measures.append(Measure("duration_ratio", found["factor"], most=LONG, about=name))
        if found["factor"] > LONG and found["newest"] - found["median"] > _LONGER_SECONDS:
            values = {
                "what": name,
                "newest": span(found["newest"]),
                "usual": span(found["median"]),
                "factor": f"{found['factor']:.1f}",
            }
            said.append((WARNING, "duration_long", values))
    return _several("duration", said, "duration_ok", measures)


@dataclass(frozen=True)
class DumpFact:
    """A dump that is asked for, and the age of its newest verified one (None: there is none)."""

    what: str
    age_seconds: float | None
    goal_seconds: int


def dumps(wanted: Sequence[DumpFact], unreadable: Sequence[str]) -> Finding:
    """Each dump that is described."""
    said: list[tuple[str, str, dict[str, Any]]] = []
    measures = []
    for one in wanted:
        goal = span(one.goal_seconds)
        if one.age_seconds is None:
            said.append((FAILED, "dump_missing", {"what": one.what}))
            continue
        age = max(0.0, one.age_seconds)
        measures.append(Measure("dump_age_seconds", round(age, 1), most=one.goal_seconds, about=one.what))
        if age > one.goal_seconds:
            values = {"what": one.what, "age": span(age), "goal": goal}
            said.append((FAILED, "dump_old", values))
    if unreadable:
        said.append((FAILED, "dump_unreadable", {"what": ", ".join(unreadable)}))
    if said:
        return _several("dumps", said, "dumps_ok", measures)
    if not wanted:
        return Finding.told("dumps", OK, "dumps_none")
    oldest = max(wanted, key=lambda one: one.age_seconds or 0.0)
    return Finding.told(
        "dumps",
        OK,
        "dumps_ok",
        *measures,
        count=len(wanted),
        age=span(max(0.0, oldest.age_seconds or 0.0)),
        goal=span(oldest.goal_seconds),
    )


@dataclass(frozen=True)
class CopyFact:
    """A copy: how far it is behind (None: never made), why it fails, if it does, and how many dumps it cannot take."""

    name: str
    behind_seconds: float | None
    lag_seconds: int
    error: str | Both | None = None
    left_out: int = 0


def copies(found: Sequence[CopyFact]) -> Finding:
    """What has left the building."""
    if not found:
        return Finding.told("copies", OK, "copies_none")
    said: list[tuple[str, str, dict[str, Any]]] = []
    measures = []
    for one in found:
        behind = one.behind_seconds
        values = {
            "name": one.name,
            "age": span(max(0.0, behind or 0.0)),
            "goal": span(one.lag_seconds),
        }
        if behind is not None:
            measures.append(Measure("copy_behind_seconds", behind, most=one.lag_seconds, about=one.name))
        if behind is None:
            said.append((FAILED, "copy_never", values))
        elif behind > one.lag_seconds:
            said.append((FAILED, "copy_behind", values))
        elif one.error is None:
            said.append((OK, "copy_ok", values))
        if one.error is not None:
            said.append((FAILED if behind is None else WARNING, "copy_failing", {**values, "why": one.error}))
        if one.left_out:
            said.append((WARNING, "copy_left_out", {**values, "count": str(one.left_out)}))
    return _several("copies", said, "copies_none", measures)


def verification(
    good_age_seconds: float | None, oldest_age_seconds: float | None, bad: Sequence[Both], goal_seconds: int
) -> Finding:
    """``good_age_seconds``: since the last verification that found all good; ``oldest_age_seconds``: of the oldest
    backup, before which none can have been."""
    goal = span(goal_seconds)
    measure = (
        Measure("verification_age_seconds", round(good_age_seconds, 1), most=goal_seconds)
        if good_age_seconds is not None
        else None
    )
    if bad:
        return Finding.told("verification", FAILED, "verify_bad", measure, what=joined(list(bad)))
    if good_age_seconds is None:
        if oldest_age_seconds is None or oldest_age_seconds <= goal_seconds:
            return Finding.told("verification", OK, "verify_early", goal=goal)
        return Finding.told("verification", FAILED, "verify_never", goal=goal)
    late = good_age_seconds > goal_seconds
    age = span(max(0.0, good_age_seconds))
    return Finding.told(
        "verification",
        FAILED if late else OK,
        "verify_old" if late else "verify_ok",
        measure,
        age=age,
        goal=goal,
    )


def trial(
    good_age_seconds: float | None, failed: tuple[float, Both] | None, goal_seconds: int | None
) -> Finding:
    """``failed``: how long ago the last one failed and why, where it did; a failure counts also where none is asked
    for."""
    if failed is not None:
        age, why = failed
        return Finding.told("trial", FAILED, "trial_bad", age=span(max(0.0, age)), why=why)
    if goal_seconds is None:
        return Finding.told("trial", OK, "trial_none")
    if good_age_seconds is None:
        return Finding.told("trial", FAILED, "trial_never", goal=span(goal_seconds))
    late = good_age_seconds > goal_seconds
    return Finding.told(
        "trial",
        FAILED if late else OK,
        "trial_old" if late else "verify_ok",
        Measure("trial_age_seconds", round(good_age_seconds, 1), most=goal_seconds),
        age=span(max(0.0, good_age_seconds)),
        goal=span(goal_seconds),
    )


def last_runs(failing: Sequence[Mapping[str, Any]]) -> Finding:
    """Kinds of runs whose last word was a failure; see :func:`.trends.failing_series`."""
    said: list[tuple[str, str, dict[str, Any]]] = []
    for run in failing:
        error = run.get("error") or {}
        values = {
            "what": run["series"],
            "at": str(run["began_at"])[:19] + "Z",
            "cause": cause(
                {
                    "code": run.get("code"),
                    "happened": " ".join(str(error.get("happened") or run["result"]).split()),
                },
                remedy=False,
            ),
        }
        # A restore is done by somebody who sees how it ends; and who mistypes a name reads that there is none.
        mistaken = run["result"] == REFUSED and not run.get("scheduled") and not run.get("facts")
        attended = mistaken or run["operation"] in ("restore", "undo", "load")
        said.append((WARNING if attended else FAILED, "runs_bad", values))
    return _several("runs", said, "runs_ok", [Measure("runs_failing", len(failing), most=0)])


def stuck(
    progress: Mapping[str, Any] | None,
    running: Sequence[Mapping[str, Any]],
    trends: Mapping[str, Mapping[str, Any]],
    now: datetime,
) -> Finding:
    """Whether something that runs has stopped moving, or runs far longer than it ever did.

    ``running``: runs of the history that have not ended; ``progress``: what the last operation tells of itself.
    """
    said: list[tuple[str, str, dict[str, Any]]] = []
    if progress and progress.get("state") == "running":
        still = (now - parse_utc(str(progress["at"]))).total_seconds()
        if still > STILL_SECONDS:
            values = {
                "what": progress.get("operation"),
                "pid": progress.get("owner", {}).get("pid"),
                "age": span(still),
                "limit": span(STILL_SECONDS),
            }
            said.append((FAILED, "stuck_still", values))
    elif progress and progress.get("state") == "interrupted":
        said.append((WARNING, "stuck_interrupted", {"what": progress.get("operation")}))
    for run in running:
        usual = [
            trend["seconds"]["median"]
            for name, trend in trends.items()
            if name.split("/")[0] == run["operation"] and trend["seconds"]["median"]
        ]
        limit = max(3600.0, 4 * max(usual)) if usual else _LONGEST_SECONDS
        age = (now - parse_utc(str(run["began_at"]))).total_seconds()
        if age > limit:
            values = {
                "what": run["operation"],
                "pid": run.get("who", {}).get("pid"),
                "age": span(age),
                "limit": span(limit),
            }
            said.append((WARNING, "stuck_long", values))
    return _several("stuck", said, "stuck_none", [])


def _several(
    name: str, said: Sequence[tuple[str, str, Mapping[str, Any]]], quiet: str, measures: Sequence[Measure]
) -> Finding:
    """Some sentences as one, the worst state for all; ``quiet`` where there are none."""
    if not said:
        return Finding(name, OK, say(quiet, "en"), say(quiet, "ja"), tuple(measures))
    state = worst([one for one, _word, _values in said])
    bad = [item for item in said if item[0] == state] if state != OK else said
    bad = [*bad, *(item for item in said if item not in bad and item[0] != OK)]
    texts = [
        "; ".join(say(word, language, **values) for _state, word, values in bad) for language in ("en", "ja")
    ]
    return Finding(name, state, texts[0], texts[1], tuple(measures))
