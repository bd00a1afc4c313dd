# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Telling people: what runs and checks find becomes messages, once; see :mod:`.notify_decide` for when.

Nothing here fails an operation: what goes wrong is said on stderr, is in the history, and ``dbkeeper check`` shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from ..cluster.repository_host import Described
from ..core.clock import format_utc, parse_utc, utc_now
from ..core.error_words import cause
from ..core.errors import EXIT_DONE, EXIT_FAILED, Failed, KeeperError, Refused
from ..core.files import make_directory, read_json, write_json
from ..core.locks import locked
from .finding import FAILED, OK, WARNING, Finding, Measure
from .history import INTERRUPTED, RUNNING
from .known import all_runs
from .notify_decide import SUMMARY, Event, Problem, decide
from .notify_file import NotifyWishes, load_wishes
from .outbox import Outbox, trial_event
from .record import recording
from .trends import failing_series, series_of

_PATIENCE_SECONDS = 30.0
#: A summary is asked for once a day, by a schedule that may be some hours early.
_SUMMARY_APART = timedelta(hours=20)
#: Checks that a summary tells also when they are well.
_IN_SHORT = ("backup", "window", "space")
Complain = Callable[[str], None]


def tell_run(config: Described, key: str, error: Mapping[str, Any] | None, complain: Complain) -> None:
    """A scheduled run has ended: with an error (code and the parts), or well (None). Never raises KeeperError."""
    if error is None:
        observe(config, {}, {key}, complain)
    elif error.get("code") != "busy":
        parts = {name: str(error[name]) for name in ("attempted", "happened", "remedy") if error.get(name)}
        observe(config, {key: Problem(key, str(error.get("code")), parts)}, set(), complain)


def tell_check(config: Described, result: Mapping[str, Any], complain: Complain) -> None:
    """A scheduled check has ended: what failed is a problem, what is well again is told, too."""
    wishes = _wishes(config, complain)
    if wishes is None:
        return
    bad = (FAILED, WARNING) if wishes.warnings else (FAILED,)
    problems = {}
    for item in result["checks"]:
        if item["state"] not in bad or (item["name"] == "runs" and _told_by_themselves(config)):
            continue
        key = f"check:{item['name']}"
        parts = {"happened": item["text"], "happened_ja": item["text_ja"]}
        problems[key] = Problem(
            key, item["state"], parts if item["text_ja"] != item["text"] else {"happened": item["text"]}
        )
    looked_at = {f"check:{item['name']}" for item in result["checks"]}
    if result["information"] is not None:
        # What is not looked at any more is no problem any more; with a repository that is gone nobody knows.
        looked_at |= {key for key in _read_state(config)["problems"] if key.startswith("check:")}
    gone = looked_at - set(problems)
    observe(config, problems, gone, complain)


def _told_by_themselves(config: Described) -> bool:
    """Whether all that failed were scheduled runs that lived long enough to say so."""
    failing = failing_series(all_runs(config.state_directory))
    return all(run.get("scheduled") and run["result"] != INTERRUPTED for run in failing)


def observe(config: Described, problems: Mapping[str, Problem], gone: set[str], complain: Complain) -> None:
    """Decide what is worth a message, keep it, and send what is due."""
    wishes = _wishes(config, complain)
    if wishes is None:
        return
    try:
        with _state_locked(config):
            state = _read_state(config)
            events, state["problems"] = decide(state["problems"], problems, gone, utc_now())
            outbox = outbox_of(config, complain)
            # First the messages: one that is kept twice is told twice, one that is not kept never.
            for event in events:
                outbox.put(event, wishes)
            _write_state(config, state)
        _say_failures(outbox.deliver(wishes), complain)
    except (KeeperError, OSError) as error:
        complain(f"notification: {_text(error)}")


def retry(config: Described, complain: Complain) -> dict[str, Any]:
    """Send what is due. Raises :class:`Refused` as :func:`.notify_file.load_wishes` does, and ``busy``."""
    wishes = _required(config)
    outbox = outbox_of(config, complain)
    tries = outbox.deliver(wishes)
    failed = [one for one in tries if one["error"]]
    return {
        "changed": any(one["error"] is None for one in tries),
        "tries": tries,
        "waiting": len(list(outbox.waiting())),
        "exit_status": EXIT_FAILED if failed else EXIT_DONE,
        **({"error": failed[0]["error"]} if failed else {}),
    }


def trial_of_channels(config: Described, complain: Complain) -> dict[str, Any]:
    """Send a test by every channel at once, and say what came of each."""
    wishes = _required(config)
    outbox = outbox_of(config, complain)
    now = utc_now()
    channels = []
    for channel in wishes.channels:
        told: dict[str, Any] = {"channel": channel.name, "type": channel.type, "error": None}
        try:
            with recording(config.state_directory, "notify", door="command", complain=complain) as run:
                run.done({"changed": True, "history": {"name": channel.name, "kind": "test"}})
                outbox.send_now(trial_event(now), channel, wishes, f"test-{now.timestamp():.0f}")
        except KeeperError as error:
            told["error"] = error.to_dict()
        channels.append(told)
    bad = [one for one in channels if one["error"]]
    return {
        "changed": len(bad) < len(channels),
        "channels": channels,
        "exit_status": EXIT_FAILED if bad else EXIT_DONE,
        **({"error": bad[0]["error"]} if bad else {}),
    }


def summarize(
    config: Described, result: Mapping[str, Any], complain: Complain, *, again: bool = False
) -> dict[str, Any]:
    """Send the summary of a day, made of a check's result and the history; once a day, unless ``again``."""
    wishes = _required(config)
    now = utc_now()
    outbox = outbox_of(config, complain)
    with _state_locked(config):
        state = _read_state(config)
        last = state.get("summary_at")
        if last and not again and timedelta(0) <= now - parse_utc(last) < _SUMMARY_APART:
            return {"changed": False, "summary_at": last}
        outbox.put(Event(SUMMARY, "summary", now, data=summary_of(config, result, now)), wishes)
        state["summary_at"] = format_utc(now)
        _write_state(config, state)
    _say_failures(outbox.deliver(wishes), complain)
    return {"changed": True, "summary_at": format_utc(now)}


def summary_of(config: Described, result: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """JSON values: ``problems``, ``warnings`` (name and texts), ``runs`` (of a day, counted by kind), and in short what
    there is (``backup``, ``window``, ``space``)."""
    since = format_utc(now - timedelta(days=1))
    counted: dict[str, dict[str, Any]] = {}
    for run in all_runs(config.state_directory):
        if run["began_at"] < since or run["result"] == RUNNING or run["operation"] == "notify":
            continue
        if run.get("idle"):
            continue
        name = series_of(run) if run.get("facts") else str(run["operation"])
        one = counted.setdefault(name, {"series": name, "ok": 0, "bad": 0})
        one["ok" if run["result"] in ("ok", "unchanged") else "bad"] += 1
    told = {item["name"]: item for item in result["checks"]}

    def some(state: str) -> list[dict[str, str]]:
        return [
            {name: item[name] for name in ("name", "text", "text_ja")}
            for item in result["checks"]
            if item["state"] == state
        ]

    return {
        "problems": some(FAILED),
        "warnings": some(WARNING),
        "runs": [counted[name] for name in sorted(counted)],
        **{part: told[part]["text"] for part in _IN_SHORT if part in told},
        **{f"{part}_ja": told[part]["text_ja"] for part in _IN_SHORT if part in told},
    }


def standing(config: Described, complain: Complain) -> dict[str, Any]:
    """What is open and what waits."""
    state = _read_state(config)
    waiting = list(outbox_of(config, complain).waiting())
    return {
        "changed": False,
        "problems": {key: entry for key, entry in state["problems"].items() if entry["open"]},
        "waiting": [
            {
                "id": one["id"],
                "kind": one["event"]["kind"],
                "key": one["event"]["key"],
                "channels": one["channels"],
            }
            for one in waiting
        ],
        "summary_at": state.get("summary_at"),
    }


def notification(config: Described) -> Finding:
    """The check ``notification``: can anybody be told, and has everything arrived?"""
    if config.notify is None:
        return Finding.told("notification", OK, "notify_none")
    try:
        load_wishes(config.notify.file)
    except KeeperError as error:
        why = cause(error.to_dict(), remedy=False)
        return Finding.told("notification", FAILED, "notify_broken", why=why)
    failing = [
        (name, entry)
        for item in outbox_of(config, lambda _text: None).waiting()
        for name, entry in item["channels"].items()
        if entry["error"]
    ]
    measure = Measure("notifications_waiting", len(failing), most=0)
    if not failing:
        return Finding.told("notification", OK, "notify_ok", measure)
    names = ", ".join(sorted({name for name, _entry in failing}))
    why = failing[-1][1]["error"]["happened"]
    return Finding.told(
        "notification", WARNING, "notify_waiting", measure, count=len(failing), channels=names, why=why
    )


def outbox_of(config: Described, complain: Complain) -> Outbox:
    """The messages of a cluster."""
    return Outbox(config.state_directory, config.cluster, config.language, complain)


def is_open(config: Described, key: str) -> bool:
    """Whether something is known as a problem; costs one look at a small file."""
    try:
        entry = _read_state(config)["problems"].get(key)
    except KeeperError:
        return True
    return bool(entry and entry["open"])


def _wishes(config: Described, complain: Complain) -> NotifyWishes | None:
    if config.notify is None:
        return None
    try:
        return load_wishes(config.notify.file)
    except KeeperError as error:
        complain(f"notification: {_text(error)}")
        return None


def _required(config: Described) -> NotifyWishes:
    if config.notify is None:
        raise Refused(
            "notify-not-set",
            attempted=f"tell somebody about cluster {config.cluster}",
            happened="nobody is named in its description",
            remedy="Set notify.file in the cluster's description, and the channels in that file (docs/knowing.md).",
        )
    return load_wishes(config.notify.file)


def _say_failures(tries: Iterable[Mapping[str, Any]], complain: Complain) -> None:
    for one in tries:
        if one["error"]:
            complain(f"notification by {one['channel']}: {one['error']['happened']}; it is tried again")


def _state_path(config: Described) -> str:
    return f"{config.state_directory}/notify/state.json"


def _state_locked(config: Described) -> Any:
    attempted = f"note what is told of cluster {config.cluster}"
    path = f"{config.state_directory}/notify/state.lock"
    return locked(path, "notify", attempted=attempted, patience=_PATIENCE_SECONDS)


def _read_state(config: Described) -> dict[str, Any]:
    """A state that cannot be read is begun anew: what lasts is told once more, and nothing is held back."""
    try:
        value = read_json(_state_path(config), attempted="read what was told")
    except (FileNotFoundError, Failed):
        value = None
    if not isinstance(value, dict) or not isinstance(value.get("problems"), dict):
        return {"format": 1, "problems": {}}
    return value


def _write_state(config: Described, state: Mapping[str, Any]) -> None:
    make_directory(f"{config.state_directory}/notify", 0o700)
    write_json(_state_path(config), state, 0o600)


def _text(error: KeeperError | OSError) -> str:
    if isinstance(error, KeeperError):
        return f"{error.code}: {error.happened}. {error.remedy}"
    return f"{error.filename}: {error.strerror}"
