# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Checks of what somebody should have done: checkpoints, checksums, invalid objects, restarts, updates, certificates,
and what the keeper's own check says of backups, the recovery window and the last trial. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ..finding import CRITICAL, HIGH, INFO, LOW, MEDIUM, Finding
from .frame import Facts, severity_of, tell
from .storage import quoted

#: What the keeper's check holds that is here already, by the server's own word.
_SAID_ELSEWHERE = frozenset({"certificate", "restart"})
#: A standby is not backed up itself: its primary says how that stands.
_SAID_BY_THE_PRIMARY = frozenset({"backup", "full-backup", "window", "rto", "verification", "trial"})


def checkpoints(facts: Facts) -> Iterator[Finding]:
    """HC11: checkpoints that were forced because WAL came faster than max_wal_size allows."""
    now, then = facts.instance["checkpoints"], facts.before.get("checkpoints")
    if not now or not then or now["stats_reset"] != then["stats_reset"]:
        return
    timed, forced = now["timed"] - then["timed"], now["forced"] - then["forced"]
    if timed + forced < 6 or min(timed, forced) < 0:
        return
    limit = facts.limits["forced_checkpoint_share"]
    share = forced / (timed + forced)
    level = limit.level(share)
    if level:
        value = {
            "forced": forced,
            "timed": timed,
            "forced_share": share,
            "max_wal_mb": facts.number("max_wal_size"),
        }
        yield tell(
            facts,
            "HC11",
            severity_of("warning"),
            {"kind": "instance"},
            value,
            limit=limit,
            window=facts.window,
        )


def checksums(facts: Facts) -> Iterator[Finding]:
    """HC25, HC26: checksums that are off, and those that did not match."""
    if facts.setting("data_checksums") == "off":
        yield tell(facts, "HC25", LOW, {"kind": "instance"}, {"data_checksums": "off"})
    for row in facts.rows("databases"):
        if row["checksum_failures"]:
            value = {"failures": row["checksum_failures"], "newest_at": row["checksum_last"]}
            thing = {"kind": "database", "name": row["name"] or "(shared)"}
            yield tell(facts, "HC26", CRITICAL, thing, value, database=str(row["name"] or ""))


def invalid(facts: Facts) -> Iterator[Finding]:
    """HC23, HC24: indexes that are not valid, constraints that are not validated, triggers that are off."""
    for one in facts.databases:
        for row in one["invalid"] or []:
            thing = {
                "kind": row["kind"],
                "schema": row["schema"],
                "name": row["name"],
                "table": f"{row['table_schema']}.{row['table_name']}",
            }
            table = quoted({"schema": row["table_schema"], "name": row["table_name"]})
            name = '"' + str(row["name"]).replace('"', '""') + '"'
            action: tuple[str, ...] = ()
            if row["kind"] == "index":
                key, severity = "HC23", MEDIUM
                action = (f"REINDEX INDEX CONCURRENTLY {quoted(row)}",)
            elif row["kind"] == "constraint":
                key, severity = "HC24", LOW
                action = (f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}",)
            else:
                key, severity = "HC38", INFO
                action = (f"ALTER TABLE {table} ENABLE TRIGGER {name}",)
            yield tell(facts, key, severity, thing, {}, database=str(one["name"]), action=action)


def extensions(facts: Facts) -> Iterator[Finding]:
    """HC28: extensions whose objects are older than their installed files."""
    for one in facts.databases:
        for row in one["extensions"] or []:
            thing = {"kind": "extension", "name": row["name"]}
            value = {"version": row["version"], "available": row["available"]}
            name = '"' + str(row["name"]).replace('"', '""') + '"'
            update = (f"ALTER EXTENSION {name} UPDATE",)
            yield tell(facts, "HC28", LOW, thing, value, database=str(one["name"]), action=update)


def restart(facts: Facts) -> Iterator[Finding]:
    """HC27: settings that are written and wait for a restart."""
    names = sorted(str(row["name"]) for row in facts.rows("settings") if row["pending_restart"])
    if names:
        yield tell(facts, "HC27", MEDIUM, {"kind": "instance"}, {"settings": names})


def certificate(facts: Facts) -> Iterator[Finding]:
    """HC30: a certificate that ends soon; one that lives short is soon only in its last quarter."""
    known = facts.certificate
    if not known:
        return
    limit = facts.limits["certificate_days"]
    level = limit.below(known["days"])
    if level and (known["days"] <= 0 or known["days"] < known["life_days"] / 4):
        severity = CRITICAL if known["days"] <= 0 else HIGH if level == "critical" else MEDIUM
        value = {"left_seconds": known["days"] * 86400, "not_after": known["not_after"]}
        thing = {"kind": "certificate", "name": known["subject"] or known["path"]}
        yield tell(facts, "HC30", severity, thing, value, limit=limit, says={"path": known["path"]})


def keeper(facts: Facts) -> Iterator[Finding]:
    """HC35: everything that the keeper's own check does not call well: backups, window, trial, archive, copies."""
    for item in (facts.keeper or {}).get("checks", []):
        if item["state"] == "ok" or item["name"] in _SAID_ELSEWHERE:
            continue
        if facts.in_recovery and item["name"] in _SAID_BY_THE_PRIMARY:
            continue
        thing = {"kind": "keeper", "name": item["name"]}
        told = {"en": item["text"], "ja": item.get("text_ja") or item["text"]}
        value = {
            f"{measure['name']}{'_' + measure['about'] if 'about' in measure else ''}": measure["value"]
            for measure in item["measures"]
        }
        severity = HIGH if item["state"] == "failed" else LOW
        yield tell(facts, "HC35", severity, thing, value, says={"told": told})


CHECKS = (checkpoints, checksums, invalid, extensions, restart, certificate, keeper)
