# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What is worth a message: new problems at once, lasting ones once a day, the end of one at once. Pure.

What flaps is not told for ever: after six messages about one thing within a day, the next comes when the first of them
is a day old.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ..core.clock import format_utc, parse_utc

FAILURE, STILL, RECOVERY, SUMMARY, TEST = "failure", "still", "recovery", "summary", "test"
AGAIN_AFTER = timedelta(days=1)
#: What changes its reason is told anew, but not more often than that.
CHANGED_AFTER = timedelta(hours=1)
MOST_A_DAY = 6


@dataclass(frozen=True)
class Problem:
    """Something that is wrong now: ``key`` names it (``run:backup``, ``check:rpo``); ``error`` has the four parts, of
    which ``happened_ja`` is Japanese where somebody knew how to say it."""

    key: str
    code: str
    error: Mapping[str, str]


@dataclass(frozen=True)
class Event:
    """One message to be: ``since`` when it began, ``count`` how often it was seen."""

    kind: str
    key: str
    at: datetime
    code: str | None = None
    since: datetime | None = None
    count: int = 0
    error: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "kind": self.kind,
            "key": self.key,
            "at": format_utc(self.at),
            "code": self.code,
            "since": format_utc(self.since) if self.since else None,
            "count": self.count,
            "error": dict(self.error),
            "data": dict(self.data),
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Event:
        """Back from :meth:`to_dict`."""
        return cls(
            kind=str(value["kind"]),
            key=str(value["key"]),
            at=parse_utc(value["at"]),
            code=value["code"],
            since=parse_utc(value["since"]) if value["since"] else None,
            count=int(value["count"]),
            error=value["error"],
            data=value["data"],
        )


State = dict[str, dict[str, Any]]


def decide(
    state: Mapping[str, Mapping[str, Any]],
    problems: Mapping[str, Problem],
    gone: set[str],
    now: datetime,
) -> tuple[list[Event], State]:
    """The messages that are due, and what is to be remembered.

    ``problems``: what is wrong now; ``gone``: keys that were looked at and are well. A key that is in neither stays as
    it was. Each remembered key has ``code``, ``since``, ``last``, ``count``, ``told`` (moments of messages of the last
    day), ``told_code`` and ``open``.
    """
    events: list[Event] = []
    kept: State = {key: dict(entry) for key, entry in state.items()}
    for entry in kept.values():
        entry["told"] = [text for text in entry["told"] if now - parse_utc(text) < AGAIN_AFTER]
    for key, problem in problems.items():
        events += _seen(kept, key, problem, now)
    for key in sorted(gone & kept.keys()):
        entry = kept[key]
        if not entry["open"]:
            continue
        entry["open"] = False
        # Who was never told that it had failed need not hear that it works.
        if entry["announced"] and len(entry["told"]) < MOST_A_DAY:
            entry["told"].append(format_utc(now))
            entry["announced"] = False
            events.append(
                Event(
                    RECOVERY,
                    key,
                    now,
                    entry["code"],
                    parse_utc(entry["since"]),
                    entry["count"],
                    entry["error"],
                )
            )
    # What is well and was not spoken of for a day is forgotten.
    return events, {key: entry for key, entry in kept.items() if entry["open"] or entry["told"]}


def _seen(kept: State, key: str, problem: Problem, now: datetime) -> list[Event]:
    entry = kept.get(key)
    if entry is None or not entry["open"]:
        told = entry["told"] if entry else []
        # One whose recovery was not told any more lasts, as far as anybody knows.
        announced = bool(entry and entry["announced"])
        entry = kept[key] = {
            "code": problem.code,
            "since": format_utc(now),
            "count": 0,
            "told": told,
            "told_code": None,
            "told_at": entry["told_at"] if entry and announced else None,
            "announced": announced,
            "open": True,
        }
    entry.update(code=problem.code, last=format_utc(now), count=entry["count"] + 1, error=dict(problem.error))
    last = parse_utc(entry["told_at"]) if entry["told_at"] else None
    if len(entry["told"]) >= MOST_A_DAY:
        return []
    if last is None or not entry["announced"]:
        kind = FAILURE
    elif now - last >= AGAIN_AFTER:
        kind = STILL
    elif problem.code != entry["told_code"] and entry["told_code"] and now - last >= CHANGED_AFTER:
        kind = FAILURE
    else:
        return []
    entry["told"].append(format_utc(now))
    entry.update(told_at=format_utc(now), told_code=problem.code, announced=True)
    since = parse_utc(entry["since"])
    return [Event(kind, key, now, problem.code, since, entry["count"], problem.error)]
