# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The report on health: ask the instance, its databases, its host and its keeper; judge; keep. Changes nothing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from ...cluster.config import ClusterConfig
from ...cluster.home import repository_named_by
from ...core.clock import parse_utc
from ...core.errors import KeeperError
from ...watch.check import check as keeper_check
from ..baseline import Area, Baseline, Marks, Window
from ..finding import Finding, ranked
from ..session import Look, Node, moment
from . import host, replication, sessions, storage, upkeep
from .frame import Facts
from .inside import inside
from .limits import Limits
from .pull import instance
from .request import HealthRequest

AREA = "health"
CHECKS = (*sessions.CHECKS, *replication.CHECKS, *storage.CHECKS, *upkeep.CHECKS)
#: Settings that belong to one host or one role of it, so that a difference is none.
_HOST_WORDS = """
port data_directory hba_file ident_file config_file external_pid_file listen_addresses unix_socket_directories
cluster_name primary_conninfo primary_slot_name synchronous_standby_names recovery_target_timeline
restore_command promote_trigger_file log_directory log_filename log_file_mode event_source ssl_cert_file
ssl_key_file ssl_ca_file stats_temp_directory lc_messages application_name archive_cleanup_command
recovery_end_command hot_standby_feedback in_hot_standby transaction_read_only default_transaction_read_only
shared_memory_size shared_memory_size_in_huge_pages num_os_semaphores synchronized_standby_slots
"""
_OF_A_HOST = frozenset(_HOST_WORDS.split())
#: Settings whose text may hold a secret: told by digest.
_SECRET = ("conninfo", "_command", "password", "passphrase", "secret", "token", "key")
_CAPACITY = (
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
)


def health_report(
    options: Mapping[str, Any], request: HealthRequest, config: ClusterConfig | None = None
) -> dict[str, Any]:
    """The result. With ``config`` the keeper's own check is part of it. Raises what :func:`cluster.sql.connect` raises;
    all else is in ``not_seen``."""
    limits = Limits(request.profile, request.thresholds)
    look = Look(options, budget_seconds=request.budget_seconds)
    with look.database():
        node = look.node()
        temporary = look.temporary()
        seen = instance(look, node)
        names = look.databases(request.databases)
    baseline = Baseline.load(request.state_directory, node.system_id)
    if baseline.unreadable:
        look.miss("the baseline", "baseline-damaged", baseline.unreadable)
    area = baseline.area(node.name, AREA)
    now = moment(node.taken_at)
    databases: list[Mapping[str, Any]] = []
    for name in names:
        with look.try_database(name) as entered:
            if entered:
                databases.append(_inside(entered, name, node, seen, limits, request))
    facts = _facts(look, node, seen, databases, limits, area, now, config, request)
    found = [finding for judge in CHECKS for finding in judge(facts)]
    findings, changed = area.recognise(_once(found), request.accepted, now)
    _keep(area, node, facts, now, request)
    stored = baseline.store(node.name, AREA, area, check=request.check)
    if "why" in stored:
        look.miss("the baseline", "baseline-not-stored", str(stored["why"]))
    return {
        "changed": changed,
        "node": node.to_dict(),
        "databases": [str(one["name"]) for one in databases],
        "findings": [finding.to_dict() for finding in ranked(findings)],
        "not_seen": [item.to_dict() for item in look.not_seen],
        "facts": _told(facts, area),
        "cost": look.cost(look.temporary_since(temporary)),
        "baseline": dict(stored),
    }


def _inside(
    look: Look, name: str, node: Node, seen: Mapping[str, Any], limits: Limits, request: HealthRequest
) -> dict[str, Any]:
    sizes = [limits["dead_bytes"].warning, limits["bloat_bytes"].warning]
    forced_at = [
        int(row["setting"]) for row in seen["settings"] or [] if row["name"] == "autovacuum_freeze_max_age"
    ]
    return inside(
        look,
        name,
        major=node.major,
        block_bytes=node.block_bytes,
        least_bytes=min([size for size in sizes if size is not None], default=0.0),
        oldest=float(min(forced_at, default=200_000_000)),
        exact=request.exact_bloat,
    )


def _facts(
    look: Look,
    node: Node,
    seen: Mapping[str, Any],
    databases: list[Mapping[str, Any]],
    limits: Limits,
    area: Area,
    now: datetime,
    config: ClusterConfig | None,
    request: HealthRequest,
) -> Facts:
    settings = {str(row["name"]): str(row["setting"]) for row in seen["settings"] or []}
    disks: list[Mapping[str, Any]] = []
    certificate = None
    if host.is_local(look.options):
        disks = [
            host.with_forecast(disk, area.runs, now) for disk in host.disks(look, _places(settings, seen))
        ]
        certificate = host.certificate(look, settings, now)
    else:
        look.miss(
            "disks and the certificate", "unavailable", "the server is on another host: run the module there"
        )
    marks = _marks(node)
    window = area.window(marks, now, "counters")
    before = dict(area.data["counters"]) if window.why == "stored" else {}
    before |= {"idle_slots": _idle_slots(area, seen, node.taken_at), "now": node.taken_at}
    return Facts(
        system_id=node.system_id,
        node=node.name,
        in_recovery=node.in_recovery,
        instance=seen,
        databases=databases,
        limits=limits,
        block_bytes=node.block_bytes,
        disks=disks,
        certificate=certificate,
        keeper=_keeper(look, config, request) if config else None,
        before=before,
        window=_shown(window),
        seconds=window.seconds if window.why == "stored" else None,
    )


def _shown(window: Window) -> Any:
    return window.shown() if window.why == "stored" else None


def _marks(node: Node) -> Marks:
    return Marks(
        node.system_id,
        timeline=node.timeline,
        in_recovery=node.in_recovery,
        server_version_num=node.server_version_num,
    )


def _places(settings: Mapping[str, str], seen: Mapping[str, Any]) -> list[tuple[str, str]]:
    data = settings.get("data_directory")
    places = [("data", data), ("wal", os.path.join(data, "pg_wal"))] if data else []
    return places + [(str(row["name"]), str(row["path"])) for row in seen["tablespaces"] or [] if row["path"]]


def _keeper(look: Look, config: ClusterConfig, request: HealthRequest) -> Mapping[str, Any] | None:
    try:
        return keeper_check(config, repository_named_by(config), keep=not request.check)
    except (KeeperError, OSError) as error:
        why = error.happened if isinstance(error, KeeperError) else f"{error.filename}: {error.strerror}"
        look.miss("the keeper's repository", "unavailable", why)
        return None


def _idle_slots(area: Area, seen: Mapping[str, Any], now: float) -> dict[str, float]:
    """Since when, by the runs that saw it, each slot has had nobody who uses it."""
    kept: dict[str, float] = area.data.get("idle_slots", {})
    idle = [str(row["name"]) for row in seen["slots"] or [] if not row["active"]]
    return {name: min(now, float(kept.get(name, now))) for name in idle}


def _once(found: Iterable[Finding]) -> list[Finding]:
    """The worst of those that are about the same thing."""
    kept: dict[str, Finding] = {}
    for finding in ranked(found):
        kept.setdefault(finding.id, finding)
    return list(kept.values())


def _keep(area: Area, node: Node, facts: Facts, now: datetime, request: HealthRequest) -> None:
    area.data["idle_slots"] = dict(facts.before["idle_slots"])
    if facts.seconds is None or facts.seconds >= request.min_window_seconds:
        area.restart(
            _marks(node),
            now,
            "counters",
            databases=facts.rows("databases"),
            checkpoints=facts.instance["checkpoints"],
            subscriptions=facts.rows("subscriptions"),
        )
    # What the forecast needs: no closer than an hour.
    last = parse_utc(area.runs[-1]["at"]) if area.runs else None
    if last is None or (now - last).total_seconds() >= min(3600.0, request.min_window_seconds):
        area.add_run(now, {"disks": {str(one["path"]): one["free_bytes"] for one in facts.disks}})


def _told(facts: Facts, area: Area) -> dict[str, Any]:
    """What the controller merges and draws; rows of sessions stay here."""
    recovery = facts.instance.get("recovery") or {}
    rows = facts.instance["sessions"] or []
    states: dict[str, int] = {}
    for row in rows:
        if row["kind"] == "client backend":
            states[str(row["state"])] = states.get(str(row["state"]), 0) + 1
    return {
        "profile": facts.limits.profile,
        "thresholds": facts.limits.to_dict(),
        "sessions": states,
        "settings": _settings(facts),
        "capacity": {name: facts.number(name) for name in _CAPACITY},
        "standbys": facts.instance["standbys"],
        "slots": facts.instance["slots"],
        "receiver": recovery.get("receiver"),
        "recovery": recovery or None,
        "databases": [
            {name: row[name] for name in ("name", "xid_age", "mxid_age")} for row in facts.rows("databases")
        ],
        "disks": [dict(one) for one in facts.disks],
        "certificate": dict(facts.certificate) if facts.certificate else None,
        "keeper": _kept(facts.keeper),
        "window": facts.window.to_dict() if facts.window else None,
        "history": area.runs,
    }


def _kept(keeper: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if keeper is None:
        return None
    return {name: keeper[name] for name in ("cluster", "state", "counts", "checks")}


def _settings(facts: Facts) -> dict[str, str]:
    """What is not as the server has it by itself and ought to be alike on all nodes; secrets as digests."""
    found = {}
    for row in facts.rows("settings"):
        name, value = str(row["name"]), str(row["setting"])
        if row["usual"] or name in _OF_A_HOST or row["context"] == "internal":
            continue
        if "." in name or any(part in name for part in _SECRET):
            value = f"sha256:{hashlib.sha256(value.encode()).hexdigest()[:16]}" if value else ""
        found[name] = value
    return dict(sorted(found.items()))
