# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What is known of expiry: the policy, what the last one did, and what keeps more than is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ..cluster.config import ClusterConfig
from ..core.clock import format_utc, parse_utc, utc_now
from ..core.error_words import cause
from ..core.errors import KeeperError
from ..core.locks import owner_alive
from ..core.sayings import LANGUAGES, Both, joined, span
from ..repository.catalog import Backup, Catalog
from ..repository.given_up import read_given_up
from ..repository.layout import Repository
from ..repository.leases import list_leases
from ..retention.choice import choose, promised
from ..retention.expiry import last_expiry
from ..retention.policy import Policy
from ..retention.state import RetentionState, SystemState
from ..retention.words import why, word
from ..wal.archive import Archive
from .health import FAILED, OK, WARNING, Check
from .windows import Window

#: An expiry each day is the custom.
_OLD_SECONDS = 8 * 86400


def retention_facts(
    config: ClusterConfig, repository: Repository, catalog: Catalog, found: Sequence[Window]
) -> dict[str, Any]:
    """JSON values: ``policy`` (None: nothing is ever expired), ``oldest`` (moment that can be restored), ``last``
    (expiry), ``pinned`` (labels), ``leases`` (those that hold now)."""
    try:
        last, error = last_expiry(repository), None
    except KeeperError as damaged:
        last, error = None, damaged.to_dict()
    oldest = min((window.begin for window in found if window.backups), default=None)
    return {
        "policy": config.retention.to_dict() if config.retention else None,
        "dump_policy": config.dump_retention.to_dict() if config.dump_retention else None,
        "oldest": format_utc(oldest) if oldest else None,
        "last": last,
        "error": error,
        "pinned": [backup.label for backup in catalog.backups if backup.pinned],
        "leases": [
            {"id": lease.id, "purpose": lease.purpose, "label": lease.label, "damaged": lease.damaged}
            for lease in list_leases(repository)
            if lease.active
        ],
    }


def promised_since(
    config: ClusterConfig, repository: Repository, catalog: Catalog, archive: Archive, mine: Sequence[Backup]
) -> dict[str, bool]:
    """Label -> whether the policy promises every moment since this backup of the archive's system."""
    policy = config.retention or remembered_policy(repository)
    if policy is None:
        return {}
    systems = tuple(SystemState(system, archive) for system in {one.system_id for one in mine})
    state = RetentionState(utc_now(), catalog, systems, given_up=read_given_up(repository))
    return promised(choose(policy, state), mine)


def remembered_policy(repository: Repository) -> Policy | None:
    """By which the last expiry went, where nobody says: what it let go is not missed."""
    try:
        last = last_expiry(repository)
    except KeeperError:
        return None
    described = (last or {}).get("policy")
    if not isinstance(described, dict):
        return None
    known = Policy.__dataclass_fields__
    return Policy(**{name: value for name, value in described.items() if name in known})


def expiry_check(facts: dict[str, Any], now: datetime) -> Check:
    """Whether what is not wanted goes, and why not."""
    last, policy = facts["last"], facts["policy"]
    damaged = [lease["id"] for lease in facts["leases"] if lease["damaged"]]
    if facts["error"]:
        return Check.told("expiry", FAILED, "caused", cause=cause(facts["error"]))
    if damaged:
        return Check.told("expiry", FAILED, "expiry_lease", id=damaged[0])
    if last is None:
        return Check.told("expiry", OK, "expiry_no_policy" if policy is None else "expiry_first")
    age = (now - parse_utc(last["at"])).total_seconds()
    if last["held"]:
        return Check.told("expiry", FAILED, "expiry_held", what=last["held"][0])
    if last["state"] == "running" and not owner_alive(last["owner"]):
        return Check.told("expiry", WARNING, "expiry_interrupted")
    if policy is not None and age > _OLD_SECONDS:
        return Check.told("expiry", WARNING, "expiry_old", age=span(age))
    if last["blocked"]:
        blocked = joined([_blocked(one) for one in last["blocked"]])
        return Check.told("expiry", WARNING, "expiry_blocked", what=blocked)
    if not facts["oldest"]:
        return Check.told("expiry", OK, "expiry_ok_never", at=last["at"])
    return Check.told("expiry", OK, "expiry_ok", at=last["at"], oldest=facts["oldest"])


def _blocked(one: dict[str, Any]) -> Both:
    english, japanese = (why(one["why"], one["by"], language) for language in LANGUAGES)
    return Both(f"{one['what']} ({english})", f"{one['what']} ({japanese})")


def expiry_lines(facts: dict[str, Any], language: str) -> list[str]:
    """For a person."""
    found = []
    if facts["oldest"]:
        found.append("  " + word("oldest", language, oldest=facts["oldest"]))
    if facts["last"]:
        found.append("  " + word("last", language, at=facts["last"]["at"]))
        for one in facts["last"]["blocked"]:
            found.append(
                "  " + word("blocked", language, what=one["what"], why=why(one["why"], one["by"], language))
            )
    found += ["  " + word("pin", language, label=label) for label in facts["pinned"]]
    found += ["  " + word("lease", language, id=one["id"], purpose=one["purpose"]) for one in facts["leases"]]
    return found
