# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What is known of expiry: the policy, what the last one did, and what keeps more than is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ..cluster.config import ClusterConfig
from ..core.clock import format_utc, parse_utc
from ..core.errors import KeeperError
from ..core.locks import owner_alive
from ..core.sizes import format_duration
from ..repository.catalog import Catalog
from ..repository.layout import Repository
from ..repository.leases import list_leases
from ..retention.expiry import last_expiry
from ..retention.words import why, word
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


def expiry_check(facts: dict[str, Any], now: datetime) -> Check:
    """Whether what is not wanted goes, and why not."""
    last, policy = facts["last"], facts["policy"]
    damaged = [lease["id"] for lease in facts["leases"] if lease["damaged"]]
    if facts["error"]:
        return Check("expiry", FAILED, f"{facts['error']['code']}: {facts['error']['happened']}")
    if damaged:
        text = f"lease {damaged[0]} cannot be read, and so nothing expires: see whose it was, then remove its file"
        return Check("expiry", FAILED, text)
    if last is None:
        text = (
            "no policy is set, nothing ever expires"
            if policy is None
            else "nothing has been expired from here yet"
        )
        return Check("expiry", OK, text)
    age = (now - parse_utc(last["at"])).total_seconds()
    if last["held"]:
        return Check(
            "expiry", FAILED, f"the archive cannot be judged ({last['held'][0]}): dbkeeper expire --dry-run"
        )
    if last["state"] == "running" and not owner_alive(last["owner"]):
        return Check("expiry", WARNING, "the last one was interrupted: run dbkeeper expire again")
    if policy is not None and age > _OLD_SECONDS:
        text = f"the last one was {format_duration(age)} ago: see why the schedule does not run"
        return Check("expiry", WARNING, text)
    blocked = [f"{one['what']} ({why(one['why'], one['by'], 'en')})" for one in last["blocked"]]
    if blocked:
        return Check("expiry", WARNING, f"more is kept than is wanted: {'; '.join(blocked)}")
    return Check("expiry", OK, f"last {last['at']}; restorable since {facts['oldest'] or 'never'}")


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
