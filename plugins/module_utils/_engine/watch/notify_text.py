# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A message in words, in the language of who reads it, and as data for programs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..core.clock import format_utc
from ..core.error_words import japanese_of
from ..core.sayings import span
from .notify_decide import RECOVERY, STILL, SUMMARY, TEST, Event
from .words import operation_name, say, title_of

#: How much of an error's text goes into a message: enough to understand, no log file.
_LONGEST = 1500
_PARTS = ("attempted", "happened", "remedy")


@dataclass(frozen=True)
class Message:
    """What a channel sends. ``good``: nothing is wrong (any more)."""

    subject: str
    lines: tuple[str, ...]
    language: str
    good: bool
    data: Mapping[str, Any]

    @property
    def text(self) -> str:
        """The body."""
        return "\n".join(self.lines) + "\n"


def compose(event: Event, *, cluster: str, host: str, language: str) -> Message:
    """Put an event into words."""
    lines = {SUMMARY: _summary, TEST: _test}.get(event.kind, _problem)(event, cluster, host, language)
    subject = _subject(event, cluster, host, language)
    good = event.kind in (RECOVERY, TEST) or (event.kind == SUMMARY and not event.data.get("problems"))
    data = {
        "format": 1,
        "event": "failure" if event.kind == STILL else event.kind,
        "again": event.kind == STILL,
        "cluster": cluster,
        "host": host,
        "key": event.key,
        "at": format_utc(event.at),
        "since": format_utc(event.since) if event.since else None,
        "count": event.count,
        "code": event.code,
        "error": {name: text for name, text in event.error.items() if name != "happened_ja"},
        "good": good,
        "subject": subject,
        "text": "\n".join(lines) + "\n",
        "language": language,
        **({"summary": dict(event.data)} if event.kind == SUMMARY else {}),
    }
    return Message(subject, tuple(lines), language, good, data)


def subject_of(key: str, language: str) -> str:
    """``run:backup/full`` and ``check:rpo`` as people call them."""
    group, _colon, name = key.partition(":")
    if group == "run":
        operation, _slash, rest = name.partition("/")
        return operation_name(operation, language) + (f" {_line(rest)}" if rest else "")
    return title_of(name, language)


def _subject(event: Event, cluster: str, host: str, language: str) -> str:
    values: dict[str, Any] = {"cluster": cluster, "host": host}
    if event.kind == TEST:
        return say("subject_test", language, **values)
    if event.kind == SUMMARY:
        problems = len(event.data.get("problems", ()))
        word = "subject_summary_bad" if problems else "subject_summary_good"
        return say(word, language, **values, day=format_utc(event.at)[:10], count=problems)
    values["what"] = subject_of(event.key, language)
    if event.kind == RECOVERY:
        return say("subject_recovery", language, **values)
    if event.kind == STILL and event.since:
        age = span((event.at - event.since).total_seconds()).within(language)
        return say("subject_still", language, **values, age=age)
    return say("subject_failure", language, **values)


def _head(event: Event, cluster: str, host: str, language: str) -> list[str]:
    return [
        _row("cluster", cluster, language),
        _row("host", host, language),
        _row("at", format_utc(event.at)[:19] + "Z", language),
    ]


def _problem(event: Event, cluster: str, host: str, language: str) -> list[str]:
    lines = [_subject(event, cluster, host, language), "", *_head(event, cluster, host, language)]
    if event.since and event.since != event.at:
        lines.append(_row("since", format_utc(event.since)[:19] + "Z", language))
        age = span((event.at - event.since).total_seconds()).within(language)
        lines.append(_row("lasted", age, language))
    if event.count > 1:
        lines.append(_row("count", say("times", language, count=event.count), language))
    lines.append("")
    if event.code:
        lines.append(_row("code", event.code, language))
    lines += _words(event, language)
    if event.kind != RECOVERY:
        lines += ["", say("line_look", language, cluster=cluster), say("line_again", language)]
    return lines


def _words(event: Event, language: str) -> list[str]:
    """What was tried, what happened and what to do."""
    error = dict(event.error)
    if language != "ja":
        return [_row(part, _cut(error[part]), language) for part in _PARTS if error.get(part)]
    own = error.pop("happened_ja", error.get("happened") if event.key.startswith("check:") else None)
    if own:
        # A check has said it in Japanese itself, or in words that are the same.
        remedy = [_row("remedy", error["remedy"], language)] if error.get("remedy") else []
        return [_row("happened", _cut(own), language), *remedy]
    if not event.code and not any(error.get(part) for part in _PARTS):
        return []
    happened, remedies = japanese_of(event.code)
    lines = [_row("happened", happened, language), *(_row("remedy", one, language) for one in remedies)]
    # The program's own words hold the names and numbers, and somebody may have to search for them.
    original = [f"  {_cut(error[part])}" for part in _PARTS if error.get(part)]
    return [*lines, "", say("label_details", language) + ":", *original] if original else lines


def _test(event: Event, cluster: str, host: str, language: str) -> list[str]:
    return [say("body_test", language), "", *_head(event, cluster, host, language)]


def _summary(event: Event, cluster: str, host: str, language: str) -> list[str]:
    data = event.data
    lines = [_subject(event, cluster, host, language), "", *_head(event, cluster, host, language)]
    for name in ("backup", "window", "space"):
        said = data.get(f"{name}_ja") if language == "ja" else None
        if said or data.get(name):
            lines.append(_row(name, str(said or data[name]), language))
    for name in ("problems", "warnings"):
        lines += ["", say(f"label_{name}", language) + ":"]
        text = "text_ja" if language == "ja" else "text"
        listed = [f"  - {title_of(one['name'], language)}: {_cut(one[text])}" for one in data.get(name, ())]
        lines += listed or [f"  {say('line_none', language)}"]
    lines += ["", say("label_runs", language) + ":"]
    runs = [
        "  - "
        + say(
            "line_run",
            language,
            what=subject_of(f"run:{one['series']}", language),
            ok=one["ok"],
            bad=one["bad"],
        )
        for one in data.get("runs", ())
    ]
    lines += runs or [f"  {say('line_none', language)}"]
    return [*lines, "", say("line_look", language, cluster=cluster)]


def _row(name: str, text: str, language: str) -> str:
    return f"{say(f'label_{name}', language)}: {text}"


def _line(text: str) -> str:
    """Names of databases may hold anything; a subject is one line."""
    return " ".join(text.split())


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
