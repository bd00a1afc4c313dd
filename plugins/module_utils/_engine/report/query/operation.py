# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The report on statements: one reading, the window since the stored one, what got worse. Nothing is ever reset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from ...core.clock import format_utc, parse_utc
from ..baseline import Area, Baseline, Marks, Window
from ..finding import Finding, ranked
from ..session import MARK, Look, Node, moment
from . import delta, plans, rules, summary, text
from .delta import Changes
from .pull import Reading, pull, texts
from .regress import Regression, compare
from .request import QueryRequest
from .summary import Known, Statement

AREA = "query"
#: Statements of the window before that are kept to be compared with; those behind them never pass the gate.
_COMPARED = 2000
#: Statements whose calls and mean are kept for curves, and of how many windows.
_CURVES, _CURVE_RUNS = 60, 20
#: How long a statement is compared with what it was.
_REMEMBERED = timedelta(days=35)
#: Whys of a window whose statements may be compared with those of the window before.
_COMPARABLE = ("stored", "reset", "upgrade")


def query_report(options: Mapping[str, Any], request: QueryRequest) -> dict[str, Any]:
    """Ask, compare, judge, keep. Raises what :func:`cluster.sql.connect` raises; all else is in ``not_seen``."""
    look = Look(options, budget_seconds=request.budget_seconds)
    with look.database():
        node = look.node()
        temporary = look.temporary()
        reading = pull(look, node.taken_at)
        names = [] if reading else look.databases()
    for name in names:
        if name == look.login_database or reading or look.spent:
            continue
        with look.try_database(name) as inside:
            reading = pull(inside, node.taken_at) if inside else None
    baseline = Baseline.load(request.state_directory, node.system_id)
    if baseline.unreadable:
        look.miss("the baseline", "baseline-damaged", baseline.unreadable)
    area = baseline.area(node.name, AREA)
    if reading is None:
        if not any("pg_stat_statements" in item.says.values["what"] for item in look.not_seen):
            look.miss("pg_stat_statements", "absent", "no database has the extension")
        stored = baseline.store(node.name, AREA, area, check=True)
        return _result(look, node, [], {}, stored, changed=False, temp_bytes=look.temporary_since(temporary))
    facts, found = _judged(look, node, reading, area, request)
    findings, changed = area.recognise(found, request.accepted, moment(node.taken_at))
    stored = baseline.store(node.name, AREA, area, check=request.check)
    if "why" in stored:
        look.miss("the baseline", "baseline-not-stored", str(stored["why"]))
    spilled = look.temporary_since(temporary)
    return _result(look, node, findings, facts, stored, changed=changed, temp_bytes=spilled)


def _result(
    look: Look,
    node: Node,
    findings: Iterable[Finding],
    facts: Mapping[str, Any],
    stored: Mapping[str, Any],
    *,
    changed: bool,
    temp_bytes: int | None,
) -> dict[str, Any]:
    return {
        "changed": changed,
        "node": node.to_dict(),
        "databases": [one["name"] for one in facts.get("by_database", [])],
        "findings": [finding.to_dict() for finding in ranked(findings)],
        "not_seen": [item.to_dict() for item in look.not_seen],
        "facts": dict(facts),
        "cost": look.cost(temp_bytes),
        "baseline": dict(stored),
    }


def _judged(
    look: Look, node: Node, reading: Reading, area: Area, request: QueryRequest
) -> tuple[dict[str, Any], list[Finding]]:
    now = moment(node.taken_at)
    marks = Marks(
        node.system_id,
        in_recovery=node.in_recovery,
        stats_reset=_text(reading.info["stats_reset"]),
        server_version_num=node.server_version_num,
    )
    window, changes = window_of(area, marks, reading, now)
    wide = delta.since_reset(reading.entries, evicting=bool(reading.info["dealloc"]))
    known, raw, without = _texts(look, reading, area, request, changes, wide)
    names = {oid: str(one["name"]) for oid, one in reading.databases.items()}
    in_window = summary.statements(changes, known, names, reading.roles)
    since_reset = summary.statements(wide, known, names, reading.roles)
    seconds = window.seconds if window and window.seconds > 0 else None
    before = area.data.get("reading", {}) if window and window.why == "stored" else {}
    seen = rules.Seen(
        system_id=node.system_id,
        node=node.name,
        window=window.shown() if window else None,
        seconds=seconds,
        statements=in_window,
        total_ms=summary.total(in_window),
        block_bytes=node.block_bytes,
        regressions=_regressions(area, in_window, window, request),
        compared=bool(before),
        coverage=summary.coverage(in_window, before["databases"], reading.databases) if before else None,
        evictions=_evictions(before, reading, window),
        settings=reading.settings,
        entries=len(reading.entries),
        without_text=without,
        extension=reading.extension,
        default_version=reading.default_version,
        place=reading.place,
    )
    shapes, planned = _plans(look, node, area, in_window, raw, request)
    seen = _with(seen, replanned=planned)
    facts = _facts(seen, reading, window, since_reset, request, shapes)
    _keep(area, marks, reading, window, seen, now, request, facts)
    curves = area.data.get("curves", {})
    for one in facts["statements"]:
        one["history"] = curves.get(curve_of(one), [])
    return {**facts, "history": area.runs}, rules.findings(seen, request.limits, request.gate)


def _with(seen: rules.Seen, **more: Any) -> rules.Seen:
    return rules.Seen(**{**seen.__dict__, **more})


def window_of(area: Area, marks: Marks, reading: Reading, now: datetime) -> tuple[Window | None, Changes]:
    """The window and what happened in it; all since the reset where no reading of before may be taken."""
    found = area.window(marks, now, "reading")
    evicted = reading.info["dealloc"]
    if found.why == "stored":
        kept = area.data["reading"]
        old = {key: dict(zip(kept["names"], values)) for key, values in kept["entries"].items()}
        old = {
            key: {name: value for name, value in one.items() if value is not None} for key, one in old.items()
        }
        evicting = evicted is None or evicted != kept["dealloc"]
        began = parse_utc(kept["since"]).timestamp()
        return found, delta.changes(old, reading.entries, evicting=evicting, began=began)
    changes = delta.since_reset(reading.entries, evicting=evicted is None or evicted > 0)
    reset = reading.info["stats_reset"]
    if reset is None or reset > reading.at:
        return None, changes
    return Window(moment(reset), now, found.why), changes


def _texts(
    look: Look, reading: Reading, area: Area, request: QueryRequest, changes: Changes, wide: Changes
) -> tuple[dict[str, Known], dict[str, str], int]:
    """What is known of each text, this run's raw texts (never stored), and how many entries have none."""
    kept: dict[str, list[Any]] = area.data.get("texts", {})
    here = {_place(key): int(key.rpartition(":")[2]) for key in reading.entries}
    level = request.text
    stale = {place for place, one in kept.items() if level != text.NONE and one[1] is None}
    wanted = {place for place in here if place not in kept or place in stale}
    loud = sorted({**wide.entries, **changes.entries}.items(), key=lambda item: -item[1].total_ms)
    if level == text.SAMPLE or request.plans:
        count = max(request.plans, len(loud) if level == text.SAMPLE else 0)
        wanted |= {_place(key) for key, _change in loud[: count or None]}
    fetched: dict[str, tuple[str, str]] = {}
    if wanted:
        with look.try_database(reading.place) as inside:
            fetched = texts(inside, reading, {here[place] for place in wanted}) if inside else {}
    stored: dict[str, list[Any]] = {}
    known: dict[str, Known] = {}
    raw: dict[str, str] = {}
    for place in here:
        if place in fetched:
            body, rest = fetched[place]
            raw[place] = body if not rest else ""
            shown = text.shown(body, level, request.text_length)
            plain = shown if level != text.SAMPLE else text.shown(body, text.NORMALISED, request.text_length)
            stored[place] = [text.fingerprint(body, more=rest), plain, MARK in body]
            known[place] = Known(stored[place][0], shown, stored[place][2])
        elif place in kept:
            stored[place] = kept[place]
            known[place] = Known(
                kept[place][0], kept[place][1] if level != text.NONE else None, kept[place][2]
            )
    area.data["texts"] = stored
    return known, raw, sum(1 for place in here if place not in known)


def _regressions(
    area: Area, statements: list[Statement], window: Window | None, request: QueryRequest
) -> list[tuple[Statement, Regression]]:
    kept = area.data.get("previous")
    if not kept or window is None or window.why not in _COMPARABLE:
        return []
    whole = summary.total(statements)
    found = []
    for one in statements:
        old = kept.get(one.name)
        if old is None or not one.toplevel or one.ours or one.change.total_ms < request.limits.least_ms:
            continue
        worse = compare(
            old["figures"], old["seconds"], one.figures, window.seconds, total=whole, gate=request.gate
        )
        if worse:
            found.append((one, worse))
    return found


def _evictions(before: Mapping[str, Any], reading: Reading, window: Window | None) -> int | None:
    now = reading.info["dealloc"]
    if now is None or window is None:
        return None
    return int(now - before["dealloc"]) if before and before["dealloc"] is not None else int(now)


def _plans(
    look: Look,
    node: Node,
    area: Area,
    statements: list[Statement],
    raw: Mapping[str, str],
    request: QueryRequest,
) -> tuple[dict[str, dict[str, Any]], list[tuple[Statement, str, str]]]:
    """Plans by the statement's name, and those of another shape than the last time."""
    if not request.plans:
        return {}, []
    if node.server_version_num < plans.FROM_VERSION:
        look.miss("generic plans", "unavailable", "EXPLAIN (GENERIC_PLAN) is there from PostgreSQL 16 on")
        return {}, []
    bodies = {place.partition(":")[2]: body for place, body in raw.items() if body}
    found: dict[str, dict[str, Any]] = {}
    for one in [one for one in statements if one.queryids[0] in bodies][: request.plans]:
        with look.try_database(one.database) as inside:
            plan = (
                plans.generic_plan(inside, bodies[one.queryids[0]], one.fingerprint or "") if inside else None
            )
        if plan:
            found[one.name] = plan
    kept: dict[str, str] = area.data.get("shapes", {})
    shapes = {name: plan["shape"] for name, plan in found.items()}
    area.data["shapes"] = {**kept, **shapes}
    by_name = {one.name: one for one in statements}
    return found, [
        (by_name[name], kept[name], shape) for name, shape in shapes.items() if kept.get(name, shape) != shape
    ]


def _facts(
    seen: rules.Seen,
    reading: Reading,
    window: Window | None,
    since_reset: list[Statement],
    request: QueryRequest,
    shapes: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    tops = summary.ranked(seen.statements, request.top)
    wide = summary.ranked(since_reset, request.top)
    named = {one.name: one for many in tops.values() for one in many}
    whole = summary.total(since_reset)
    listed = sorted(named.values(), key=lambda one: (-one.change.total_ms, one.name))
    return {
        "extension": {
            "version": reading.extension,
            "available": reading.default_version,
            "database": reading.place,
            "entries": len(reading.entries),
            "entries_max": int(reading.settings.get("pg_stat_statements.max", 0)) or None,
            "hidden": reading.hidden,
            "dealloc": reading.info["dealloc"],
            "stats_reset": format_utc(moment(reading.info["stats_reset"]))
            if reading.info["stats_reset"]
            else None,
        },
        "window": window.shown().to_dict() if window else None,
        "time": summary.split(seen.statements, seen.seconds),
        "coverage_share": seen.coverage,
        "statements": [
            {**summary.shown(one, seen.total_ms, seen.block_bytes), "plan": shapes.get(one.name)}
            for one in listed
        ],
        "top": {ranking: [_id(one) for one in many] for ranking, many in tops.items() if many},
        "by_database": summary.shares(seen.statements, lambda one: one.database),
        "by_user": summary.shares(seen.statements, lambda one: one.user),
        "since_reset": {
            "time": summary.split(since_reset, None),
            "statements": [summary.shown(one, whole, seen.block_bytes) for one in wide["total"]],
            "top": {ranking: [_id(one) for one in many] for ranking, many in wide.items() if many},
        },
        "regressions": [
            {**_id(one), "kind": worse.kind, "factor": worse.factor if worse.factor != float("inf") else None}
            for one, worse in seen.regressions
        ],
        "new": [_id(one) for one in seen.statements if seen.compared and one.change.how == "new"][
            : request.top
        ],
    }


def _keep(
    area: Area,
    marks: Marks,
    reading: Reading,
    window: Window | None,
    seen: rules.Seen,
    now: datetime,
    request: QueryRequest,
    facts: Mapping[str, Any],
) -> None:
    """The reading becomes the next window's beginning, and this window what the next is compared with."""
    if window and window.why == "stored" and window.seconds < request.min_window_seconds:
        return
    if window and window.seconds > 0:
        regressed = {one.name for one, _worse in seen.regressions}
        area.data["previous"] = references(
            area.data.get("previous", {}), seen.statements, regressed, window, request.gate.calls
        )
    names = [*reading.names, "square", "since"]
    area.restart(
        marks,
        now,
        "reading",
        names=names,
        entries={key: [one.get(name) for name in names] for key, one in reading.entries.items()},
        databases={oid: dict(one) for oid, one in reading.databases.items()},
        dealloc=reading.info["dealloc"],
    )
    area.add_run(now, {**facts["time"], "seconds": window.seconds if window else None})
    if window and window.why == "stored":
        area.data["curves"] = curves(area.data.get("curves", {}), facts["statements"], window.seconds)


def curve_of(one: Mapping[str, Any]) -> str:
    """The name of a statement's curve: its database, its user, and what it is."""
    return f"{one['database']}\n{one['user']}\n{one['id']}"


def curves(
    kept: Mapping[str, list[Any]], listed: Iterable[Mapping[str, Any]], seconds: float
) -> dict[str, list[Any]]:
    """Calls per second and mean of the heaviest statements in each window, oldest first; null where one was not among
    them. Those that were in none of the windows that are kept are forgotten. Pure."""
    here = {
        curve_of(one): [
            float(f"{one['calls'] / seconds:.4g}"),
            one["mean_ms"] and float(f"{one['mean_ms']:.4g}"),
        ]
        for one in [one for one in listed if one["toplevel"]][:_CURVES]
    }
    longest = max(map(len, kept.values()), default=0)
    found = {}
    for name in [*here, *(name for name in kept if name not in here)]:
        before = kept.get(name, [None] * longest)
        points = [*before, here.get(name)][-_CURVE_RUNS:]
        if any(points):
            found[name] = points
    return found


def references(
    kept: Mapping[str, Any], statements: list[Statement], regressed: set[str], window: Window, calls: int
) -> dict[str, Any]:
    """What the next window is compared with, by statement: what each did in the last window that told enough.

    One that got worse stays compared with how it was before, so that it is told again until it is better, or until
    that is too long ago. Pure.
    """
    oldest = format_utc(window.until - _REMEMBERED)
    found = {name: one for name, one in kept.items() if one["until"] >= oldest}
    for one in statements:
        if one.change.calls >= calls and not (one.name in regressed and one.name in found):
            figures = {"figures": dict(one.figures), "seconds": window.seconds}
            found[one.name] = {**figures, "until": format_utc(window.until)}
    newest = sorted(found.items(), key=lambda pair: pair[1]["until"], reverse=True)
    return dict(newest[:_COMPARED])


def _id(one: Statement) -> dict[str, Any]:
    return {"id": one.fingerprint or f"#{one.queryids[0]}", "database": one.database, "user": one.user}


def _place(key: str) -> str:
    _user, database, _toplevel, queryid = key.split(":")
    return f"{database}:{queryid}"


def _text(value: float | None) -> str | None:
    return None if value is None else repr(float(value))
