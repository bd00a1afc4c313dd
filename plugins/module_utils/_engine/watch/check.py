# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""``dbkeeper check``: everything that is known, held against what was asked for. Gathers; :mod:`.judge` decides."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from ..backup.health import judge
from ..backup.info import facts_of, information
from ..backup.kept import expiry_check
from ..backup.streaming import streaming_check
from ..cluster.config import ClusterConfig
from ..cluster.controldata import read_control_data
from ..cluster.repository_host import Described
from ..copies.status import status_of
from ..core.clock import format_utc, parse_utc, utc_now
from ..core.error_words import cause
from ..core.errors import EXIT_DONE, EXIT_FAILED, KeeperError, unexpected
from ..core.progress import read_progress
from ..core.sayings import Both
from ..core.sizes import format_duration
from ..pooling.certificates import pooler_certificate_checks
from ..repository.dumps import encode_name, read_shelf
from ..repository.layout import Repository
from ..settings.certificates import certificate_checks
from ..settings.health import settings_checks
from . import judge as judging
from .exposure import exposure
from .finding import FAILED, OK, STATES, WARNING, Finding, worst
from .history import OK as DONE
from .history import RUNNING, UNCHANGED
from .known import all_runs
from .notify import notification
from .space import forecast, free_and_total, sampled
from .trends import failing_series, trends
from .verify_record import ended_run, verification


def check(config: ClusterConfig, repository: Repository, *, keep: bool = True) -> dict[str, Any]:
    """Hold the facts against the objectives, and the configuration against what was written.

    ``checks``: name, state (``ok``, ``warning``, ``failed``), text (and ``text_ja``) and ``measures`` of each;
    ``healthy``; ``state`` is the worst; ``exit_status`` 3 when one has failed. ``information`` is what they were judged
    by, None where the repository cannot be read: that is a failed check, too, and the rest is looked at all the same.
    With ``keep`` the free space is noted for the forecast; nothing else is written.
    """
    now = utc_now()
    found: list[Finding] = []
    try:
        known: dict[str, Any] | None = information(config, repository)
    except (KeeperError, OSError) as error:
        known = None
        told = error if isinstance(error, KeeperError) else unexpected(error, "read the repository")
        found.append(Finding.told("repository", FAILED, "repository_bad", cause=cause(told.to_dict())))
    if known is not None:
        found.append(Finding.told("repository", OK, "repository_ok", path=repository.path))
        found += _known_before(config, repository, known, now)
        found += _of_the_repository(config, repository, known, now, keep=keep)
    of_the_server = settings_checks(config) + certificate_checks(config) + pooler_certificate_checks(config)
    found += [Finding.of(item) for item in of_the_server]
    found += of_the_history(config.state_directory, now)
    found.append(guarded("notification", lambda: notification(config)))
    result = {"changed": False, "cluster": config.cluster, "at": format_utc(now), "information": known}
    return judged(result, [one.to_dict() for one in found])


def with_finding(result: Mapping[str, Any], more: Finding) -> dict[str, Any]:
    """The result with one more check in it."""
    return judged(result, [*result["checks"], more.to_dict()])


def judged(result: Mapping[str, Any], checks: list[dict[str, Any]]) -> dict[str, Any]:
    state = worst([item["state"] for item in checks])
    return {
        **result,
        "healthy": state != FAILED,
        "state": state,
        "counts": {one: sum(item["state"] == one for item in checks) for one in STATES},
        "exit_status": EXIT_FAILED if state == FAILED else EXIT_DONE,
        "checks": checks,
    }


def _known_before(
    config: ClusterConfig, repository: Repository, known: Mapping[str, Any], now: datetime
) -> list[Finding]:
    facts = facts_of(known, backup_age_seconds=config.objectives.backup_age_seconds)
    if facts.measured is None:
        facts = replace(facts, measured=measured_by_trial(ended_run(verification(repository)["trial"])))
    checks = [item.to_dict() for item in judge(facts)]
    checks.append(expiry_check(known["retention"], now).to_dict())
    if known["streaming"]:
        checks.append(streaming_check(known["streaming"]).to_dict())
    return [Finding.of(item) for item in checks]


def _of_the_repository(
    config: ClusterConfig, repository: Repository, known: Mapping[str, Any], now: datetime, *, keep: bool
) -> list[Finding]:
    goals = config.objectives
    looked_at: list[tuple[str, Callable[[], Finding]]] = [
        ("full-backup", lambda: _full_backup(config, known, now)),
        ("rpo-now", lambda: judging.rpo_now(exposure(config, known), now, goals.rpo_seconds)),
        ("arrival", lambda: _arrival(config, repository, known)),
        ("backlog", lambda: _backlog(config, known)),
        ("space", lambda: _space(config, known, now, keep=keep)),
        ("dumps", lambda: _dumps(config, repository, now)),
        ("copies", lambda: copies(config)),
        ("verification", lambda: _verification(config, repository, known, now)),
        ("trial", lambda: _trial(config, repository, now)),
    ]
    return [guarded(name, look) for name, look in looked_at]


def of_the_history(state_directory: str, now: datetime, more: Sequence[dict[str, Any]] = ()) -> list[Finding]:
    try:
        runs = [*more, *all_runs(state_directory)]
    except KeeperError as error:
        return [Finding.told("runs", FAILED, "caused", cause=cause(error.to_dict()))]
    usual = trends(runs)
    running = [run for run in runs if run["result"] == RUNNING]
    progress = read_progress(f"{state_directory}/progress.json")
    looked_at: list[tuple[str, Callable[[], Finding]]] = [
        ("size", lambda: judging.sizes(usual)),
        ("duration", lambda: judging.durations(usual)),
        ("runs", lambda: judging.last_runs(failing_series(runs))),
        ("stuck", lambda: judging.stuck(progress, running, usual, now)),
    ]
    return [guarded(name, look) for name, look in looked_at]


def guarded(name: str, look: Callable[[], Finding]) -> Finding:
    """What cannot be looked at is said, and hides nothing else."""
    try:
        return look()
    except KeeperError as error:
        return Finding.told(name, WARNING, "unknown_why", why=cause(error.to_dict(), remedy=False))
    except OSError as error:
        return Finding.told(name, WARNING, "unknown_why", why=f"{error.filename}: {error.strerror}")


def measured_by_trial(run: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What the last trial of a dump took, where it was good: less than a restore, and more than nothing."""
    if not run or not run.get("good") or run.get("seconds_taken") is None:
        return None
    return {"seconds": float(run["seconds_taken"]), "at": run["ended_at"], "trial": run.get("database")}


def _full_backup(config: ClusterConfig, known: Mapping[str, Any], now: datetime) -> Finding:
    broken = {item["label"] for name in ("broken_chains", "page_faults", "unsound") for item in known[name]}
    full = [
        one
        for one in known["backups"]
        if one["kind"] == "full"
        and one["status"] == "verified"
        and one["label"] not in broken
        and known["system_id"] in (None, str(one["system_id"]))
    ]
    goal = config.objectives.full_backup_age_seconds or 2 * config.backup.full_interval_seconds
    if not full:
        return judging.full_backup(None, None, goal)
    newest = full[-1]
    ended = parse_utc(newest["stopped_at"] or newest["started_at"])
    return judging.full_backup(newest["label"], (now - ended).total_seconds(), goal)


def _arrival(config: ClusterConfig, repository: Repository, known: Mapping[str, Any]) -> Finding:
    last = (known["archiver"] or {}).get("last_archived_wal")
    if last is None or known["system_id"] is None:
        return judging.arrival(None, there=True)
    there = repository.has_wal(int(known["system_id"]), [last])
    return judging.arrival(last, there=last in there)


def _backlog(config: ClusterConfig, known: Mapping[str, Any]) -> Finding:
    count = int((known["archiver"] or {}).get("ready_segments") or 0)
    directory = f"{config.data_directory}/pg_wal"
    if not os.path.isdir(directory):
        return judging.backlog(0, 0, 0)
    size = read_control_data(config.bin_directory, config.data_directory).wal_segment_size if count else 0
    return judging.backlog(count, count * size, free_and_total(directory)[0])


def _space(config: ClusterConfig, known: Mapping[str, Any], now: datetime, *, keep: bool) -> Finding:
    disk = known["disk"]
    samples = sampled(config.state_directory, int(disk["free_bytes"]), now, keep=keep)
    return judging.space(
        int(disk["free_bytes"]), int(disk["total_bytes"]), forecast(samples, now), config.objectives.free_days
    )


def _dumps(config: ClusterConfig, repository: Repository, now: datetime) -> Finding:
    shelf = read_shelf(repository) if config.dumps or os.path.isdir(f"{repository.path}/dump") else None
    wanted = []
    for wish in config.dumps:
        good = [
            one
            for one in (shelf.of(wish.database) if shelf else [])
            if one.verified and one.series == wish.label
        ]
        age = (now - good[-1].ended_at).total_seconds() if good else None
        what = f"{encode_name(wish.database)}/{wish.label}"
        wanted.append(judging.DumpFact(what, age, config.objectives.dump_age_seconds))
    return judging.dumps(wanted, [entry.key for entry in shelf.damaged] if shelf else [])


def copies(config: Described) -> Finding:
    found = [
        judging.CopyFact(
            one.name,
            one.behind_seconds,
            one.lag_seconds,
            _fault(one.failure) if one.failure else None,
            one.left_out,
        )
        for one in status_of(config)
    ]
    return judging.copies(found)


def verified(
    repository: Repository, state_directory: str, oldest: str | None, goal_seconds: int, now: datetime
) -> Finding:
    """``oldest``: when the oldest verified backup ended: before that nothing could have been verified."""
    found = verification(repository)
    good = [run["ended_at"] for run in (found["cheap"], found["thorough"]) if run and _went_well(run)]
    # One that runs now, or was killed, has taken the place of the last good one there.
    good += [
        run["began_at"]
        for run in all_runs(state_directory)
        if run["operation"] == "verify"
        and run["result"] in (DONE, UNCHANGED)
        # Not one that found nothing due, or was asked for a single backup.
        and run.get("facts", {}).get("whole")
        and not run.get("idle")
    ]
    good_age = (now - parse_utc(max(good))).total_seconds() if good else None
    oldest_age = (now - parse_utc(oldest)).total_seconds() if oldest else None
    faults = [(one["what"], _fault(one["fault"])) for one in found["bad"]]
    bad = [Both(f"{what} ({why.en})", f"{what} ({why.ja})") for what, why in faults]
    return judging.verification(good_age, oldest_age, bad, goal_seconds)


def _verification(
    config: ClusterConfig, repository: Repository, known: Mapping[str, Any], now: datetime
) -> Finding:
    ended = [one["stopped_at"] for one in known["backups"] if one["status"] == "verified"]
    oldest = min((text for text in ended if text), default=None)
    return verified(
        repository, config.state_directory, oldest, config.objectives.verification_age_seconds, now
    )


def _trial(config: ClusterConfig, repository: Repository, now: datetime) -> Finding:
    run = ended_run(verification(repository)["trial"])
    goal = config.objectives.trial_age_seconds
    if not run or not run.get("ended_at"):
        return judging.trial(None, None, goal)
    age = (now - parse_utc(run["ended_at"])).total_seconds()
    if _went_well(run):
        return judging.trial(age, None, goal)
    return judging.trial(None, (age, _fault(run.get("fault") or run.get("error"))), goal)


def _went_well(run: Mapping[str, Any]) -> bool:
    return bool(run.get("good")) and bool(run.get("ended_at"))


def _fault(told: Any) -> Both:
    if isinstance(told, Mapping):
        return cause(
            {"code": told.get("code"), "happened": told.get("happened") or told.get("text")}, remedy=False
        )
    text = str(told or "see dbkeeper history")
    return Both(text, text)


def lines(result: Mapping[str, Any], language: str) -> list[str]:
    """One line for each thing that was looked at."""
    text = "text_ja" if language == "ja" else "text"
    return [f"{item['state']:8} {item['name']}: {item[text]}" for item in result["checks"]]


def nagios(result: Mapping[str, Any]) -> tuple[int, str]:
    """Exit status (0 ok, 1 warning, 2 critical) and the one line with performance data of Nagios and Icinga."""
    state = result["state"]
    status, word = {OK: (0, "OK"), WARNING: (1, "WARNING"), FAILED: (2, "CRITICAL")}[state]
    bad = [item for item in result["checks"] if item["state"] != OK]
    bad.sort(key=lambda item: -STATES.index(item["state"]))
    said = "; ".join(f"{item['name']}: {item['text']}" for item in bad) or _well(result)
    figures = [_perfdata(one) for item in result["checks"] for one in item["measures"]]
    line = f"DBKEEPER {word} - {result['cluster']}: {_flat(said)}"
    return status, f"{line} | {' '.join(figures)}" if figures else line


def _well(result: Mapping[str, Any]) -> str:
    known = result["information"] or {}
    freshness = known.get("freshness") or {}
    age = freshness.get("newest_backup_age_seconds")
    aged = f", newest backup {format_duration(max(0.0, age))} old" if age is not None else ""
    return f"{len(result['checks'])} checks{aged}"


def _flat(text: str) -> str:
    # A bar begins the performance data, and a line is one line.
    return " ".join(text.replace("|", "/").split())


def _perfdata(measure: Mapping[str, Any]) -> str:
    """``'label'=value[unit];[warning];[critical];[least]`` (Nagios plugin guidelines, "Performance data")."""
    name = str(measure["name"])
    unit = "s" if name.endswith("_seconds") else "B" if name.endswith("_bytes") else ""
    about = f" {measure['about']}" if "about" in measure else ""
    label = _flat(f"{name}{about}").replace("'", "_").replace("=", "_")
    least, most = measure.get("least"), measure.get("most")
    if least is None and most is None:
        critical = ""
    elif least is None:
        critical = f"{most:g}" if most != int(most or 0) else f"{int(most or 0)}"
    else:
        # A range: outside of it is critical.
        critical = f"{least:g}:{'' if most is None else format(most, 'g')}"
    value = measure["value"]
    shown = f"{int(value)}" if value == int(value) else f"{value:.3f}"
    return f"'{label}'={shown}{unit};;{critical};0;"
