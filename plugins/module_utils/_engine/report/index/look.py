# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""One gentle look at all indexes of one instance: facts, findings, what only all nodes together can tell, cost."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from ...cluster.config import ClusterConfig
from ...core.errors import KeeperError, Refused
from ...recovery.scratch import scratch
from ..baseline import Area, Baseline, Marks
from ..finding import Finding, ranked
from ..missing.trying import BUILD, COPY, NONE, PLANS, missing
from ..session import Look, Node, moment
from . import rules_load, rules_shape
from .asked import asked
from .definitions import complete, read, wanted
from .draft import Draft
from .exact import confirm, damaged
from .facts import Database
from .history import Past, compare
from .hot import named
from .limits import Limits
from .pull import pull
from .unused import digest_of, unused_here

AREA = "index"
_MARKS = """
SELECT (SELECT max(extract(epoch FROM stats_reset)) FROM pg_stat_database WHERE datname = current_database()),
       (SELECT extract(epoch FROM stats_reset) FROM pg_stat_archiver)
"""
#: Those that replay: what only receives WAL (pg_receivewal, base backups) tells of none, subscribers are asked for by
#: their slots.
_STANDBYS = """
SELECT coalesce(nullif(application_name, ''), client_addr::text, 'unnamed'), client_addr::text, state
FROM pg_stat_replication WHERE replay_lsn IS NOT NULL
  AND pid NOT IN (SELECT active_pid FROM pg_replication_slots WHERE slot_type = 'logical' AND active_pid IS NOT NULL)
"""
#: What decides plans besides statistics: a copy is asked with the settings of the server that it is of.
_PLANNING = """
SELECT name, setting FROM pg_settings
WHERE (category LIKE 'Query Tuning%' OR name IN ('work_mem', 'hash_mem_multiplier'))
  AND name NOT IN ('plan_cache_mode', 'jit') AND setting IS DISTINCT FROM boot_val
"""
_TEMPORARY = "SELECT sum(temp_bytes)::bigint FROM pg_stat_database"


@dataclass(frozen=True)
class Request:
    """What the module was asked for. ``databases``: all that can be entered, when empty."""

    login: Mapping[str, Any]
    state_directory: str
    databases: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    accepted: Sequence[Mapping[str, Any]] = ()
    budget_seconds: float = 60.0
    check: bool = False
    missing: str = NONE
    is_copy: bool = False
    read_whole: bool = False
    #: For ``missing`` on a copy: the cluster whose newest backup is restored.
    config: ClusterConfig | None = None


def look_at(request: Request) -> dict[str, Any]:
    """The module's result. Raises what connecting raises; everything else that fails is in ``not_seen``."""
    look = Look(request.login, budget_seconds=request.budget_seconds)
    findings: list[Finding] = []
    facts: dict[str, Any] = {"databases": {}}
    locked: set[tuple[str, str, str]] = set()
    with look.database():
        node = look.node()
        names = look.databases(request.databases)
        facts["standbys"] = _standbys(look, node)
        temporary = _number(look.ask(_TEMPORARY, what="temporary files"))
    baseline = Baseline.load(request.state_directory, node.system_id)
    if baseline.unreadable:
        look.miss(baseline.file, "baseline-damaged", baseline.unreadable)
    area = baseline.area(node.name, AREA)
    with _trying(look, request) as trying:
        for name in names:
            with look.try_database(name) as inside:
                if inside is not None:
                    told = _database(inside, node, name, area, request, trying)
                    if told is not None:
                        findings.extend(told[0])
                        facts["databases"][name] = told[1]
                        locked |= {(name, *table) for table in told[2]}
    now = moment(node.taken_at)
    with _aside(area, facts["databases"], locked):
        stood, changed = area.recognise(findings, request.accepted, now)
    area.data["places"] = {
        **{key: place for key, place in area.data.get("places", {}).items() if key in area.findings},
        **{one.id: [one.database, one.thing.get("schema"), _table(one)] for one in stood},
    }
    area.add_run(now, _figures(stood))
    stored = baseline.store(node.name, AREA, area, check=request.check)
    if "why" in stored:
        look.miss(baseline.file, "baseline-not-stored", stored["why"])
    with look.database():
        spent = _number(look.ask(_TEMPORARY, what="temporary files"))
    temp_bytes = spent - temporary if spent is not None and temporary is not None else None
    return {
        "changed": changed,
        "node": node.to_dict(),
        "databases": sorted(facts["databases"]),
        "findings": [finding.to_dict() for finding in ranked(stood)],
        "not_seen": [one.to_dict() for one in look.not_seen],
        "facts": {**facts, "runs": area.runs},
        "cost": look.cost(temp_bytes),
        "baseline": stored,
    }


@dataclass(frozen=True)
class _Trying:
    """Where missing indexes are tried, and how."""

    mode: str
    login: Mapping[str, Any]
    is_copy: bool
    settings: Sequence[tuple[str, str]] = ()


@contextlib.contextmanager
def _trying(look: Look, request: Request) -> Iterator[_Trying]:
    """The server itself, or a copy that is there for the block. Where none can be had only plans are looked at, and the
    reason is told. Raises :class:`Refused` (``not-a-copy``)."""
    if request.missing != COPY:
        yield _Trying(request.missing, request.login, request.is_copy)
        return
    if request.config is None:
        raise Refused(
            "not-a-copy",
            attempted="restore a copy to try missing indexes on",
            happened="nobody said which cluster's backup is to be restored",
            remedy="Give the option cluster, the name by which the backup role registered the cluster on this host.",
        )
    if request.check:
        look.miss("restored copy", "unavailable", "check mode restores nothing")
        yield _Trying(PLANS, request.login, is_copy=False)
        return
    with contextlib.ExitStack() as stack:
        begun = time.monotonic()
        try:
            copy = stack.enter_context(scratch(request.config))
        except KeeperError as error:
            look.miss("restored copy", "unavailable", error.happened)
            trying = _Trying(PLANS, request.login, is_copy=False)
        else:
            with look.database():
                rows = look.ask(_PLANNING, what="settings of the planner") or []
            trying = _Trying(BUILD, copy.login, True, [(str(name), str(value)) for name, value in rows])
        # Nobody waits for the server meanwhile.
        look.budget_seconds += time.monotonic() - begun
        yield trying


def _database(
    look: Look, node: Node, name: str, area: Area, request: Request, trying: _Trying
) -> tuple[list[Finding], dict[str, Any], frozenset[tuple[str, str]]] | None:
    database = pull(look, node, name)
    if database is None:
        return None
    # A crash throws statistics away and leaves no trace in the database's own reset; the archiver's has one then.
    resets = look.ask(_MARKS, what="resets of statistics") or [(None, None)]
    marks = Marks(
        node.system_id,
        in_recovery=node.in_recovery,
        stats_reset=str([None if one is None else float(one) for one in resets[0]]),
        server_version_num=node.server_version_num,
    )
    past = compare(area, database, marks, moment(node.taken_at))
    tried = missing(
        look,
        database,
        trying.mode,
        request.limits,
        login=trying.login,
        is_copy=trying.is_copy,
        settings=trying.settings,
    )
    found = named(look, database, node.major, judged(database, past, request.limits))
    found = [*asked(look, database, found), *tried]
    if request.read_whole:
        found = [*confirm(look, database, found, request.limits), *damaged(look, database)]
    drafts, left_out = _bounded(found, request.limits.kept_per_class)
    for word, count in sorted(left_out.items()):
        look.miss(f"{word} in database {name}", "bounded", str(count))
    if not database.statistics_seen:
        look.miss(f"column statistics in database {name}", "statistics")
    idle = unused_here(database, past, request.limits, drafts)
    definitions = read(look, list(dict.fromkeys([*wanted(database, drafts), *idle.oids])))
    return (
        [complete(database, one, definitions) for one in drafts],
        {
            "tables": len(database.tables),
            "indexes": len(database.indexes),
            "index_bytes": sum(index.pages for index in database.indexes) * database.block_bytes,
            "unused": idle.rows(definitions),
            "unused_complete": idle.complete,
            "definitions": digest_of(database),
            "stats_reset": database.stats_reset,
        },
        database.left_out,
    )


def judged(database: Database, past: Past, limits: Limits) -> list[Draft]:
    """All findings of one database on one node. Pure."""
    return list(
        chain(
            rules_shape.invalid(database, past),
            rules_shape.redundant(database, limits),
            rules_load.rare(database, past, limits),
            rules_load.bloated(database, past, limits),
            rules_load.foreign_keys(database, past, limits),
            rules_load.partial(database, limits),
            rules_load.amplified(database, past, limits),
            rules_shape.questionable(database),
            rules_shape.unique_ones(database, past, limits),
            rules_shape.collations(database),
            rules_shape.too_many(database, limits),
        )
    )


@contextlib.contextmanager
def _aside(area: Area, seen: Collection[str], locked: Collection[tuple[str, str, str]]) -> Iterator[None]:
    """Findings about what was not looked at this time are not gone: they keep their dates, and nothing is new later."""
    kept = {
        key: area.findings.pop(key)
        for key, (database, schema, table) in area.data.get("places", {}).items()
        if key in area.findings and (database not in seen or (database, schema, table) in locked)
    }
    yield
    area.findings.update(kept)


def _table(finding: Finding) -> str:
    thing = finding.thing
    return str(thing.get("table") or thing.get("name") or "")


def _bounded(drafts: Iterable[Draft], most: int) -> tuple[list[Draft], dict[str, int]]:
    """The worst of each class; how many were left out of it. A page of 20,000 duplicates is read by nobody."""
    by_class: dict[str, list[Draft]] = {}
    for one in drafts:
        by_class.setdefault(one.finding.name, []).append(one)
    kept: list[Draft] = []
    left_out: dict[str, int] = {}
    for name, group in by_class.items():
        if len(group) > most:
            left_out[name] = len(group) - most
            place = {id(one.finding): one for one in group}
            group = [place[id(finding)] for finding in ranked(one.finding for one in group)[:most]]
        kept.extend(group)
    return kept, left_out


def _standbys(look: Look, node: Node) -> list[dict[str, Any]]:
    rows = look.ask(_STANDBYS, what="standbys") or []
    return [{"name": str(name), "address": address, "state": state} for name, address, state in rows]


def _number(rows: list[tuple[Any, ...]] | None) -> int | None:
    return int(rows[0][0]) if rows and rows[0][0] is not None else None


def _figures(findings: list[Finding]) -> dict[str, Any]:
    """What a curve is drawn of."""
    return {
        "findings": len(findings),
        "bytes": sum(finding.impact.get("bytes") or 0 for finding in findings if finding.action),
    }
