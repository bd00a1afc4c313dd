# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The decision card: the plan, the outcome or the failure, as text that a tired person reads at 03:00.

Pure: data in, lines out. The same data is the JSON that every door returns.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from ..core.sayings import JAPANESE
from ..core.sizes import format_bytes, format_duration
from .words import say

_RULE = "-" * 78


def plan_card(result: Mapping[str, Any], language: str = "en") -> list[str]:
    """The card of a plan, before it is executed (or instead)."""
    plan = result["plan"]
    title = "title" if result["changed"] else "title_nothing"
    if result.get("resumes"):
        title = "title_resume"
    rows = _what(plan, language) + _how(plan, language) + _price(plan, language)
    if not result["changed"]:
        rows.append(("next", say("next_repeat", language)))
    return _card(say(title, language, cluster=plan["cluster"], id=plan["id"]), rows, language)


def done_card(result: Mapping[str, Any], language: str = "en") -> list[str]:
    """The card of a finished restore: planned beside reached."""
    plan, record = result["plan"], result["record"]
    reached = record["reached"]
    rows = _what(plan, language)
    rows.append(("reached", _position(plan["proof"], reached["lsn"], reached["inclusive"], language)))
    if record["downtime_seconds"] is not None:
        rows.append(("downtime", format_duration(record["downtime_seconds"])))
    if record.get("rto_seconds") is not None:
        rows.append(("rto", say("rto_value", language, time=format_duration(record["rto_seconds"]))))
    rows += [("was_lost", text) for _key, text in _losses(record["lost"], plan, language)]
    if record["lost"].get("wal_bytes") is not None:
        rows.append(
            ("was_lost", say("was_lost_wal", language, size=format_bytes(record["lost"]["wal_bytes"])))
        )
    rows.append(("was_kept", record["kept_directory"] or say("kept_nothing", language)))
    if record.get("removed_settings"):
        rows.append(("removed", ", ".join(record["removed_settings"])))
    if record["archived_segment"]:
        rows.append(("archived", record["archived_segment"]))
    if record.get("amcheck"):
        rows.append(("amcheck", say("amcheck_value", language, seconds=record["amcheck"]["seconds"])))
    if record["new_backup"]:
        rows.append(("new_backup", record["new_backup"]))
    rows.append(("seconds", ", ".join(f"{name} {spent:g}" for name, spent in record["seconds"].items())))
    rows.append(("evidence", result["evidence"]))
    if record["kept_directory"] or not plan["live"]["exists"]:
        rows.append(("undo", f"dbkeeper undo --cluster {plan['cluster']} --confirm {plan['cluster']}"))
    return _card(say("title_done", language, cluster=plan["cluster"], id=plan["id"]), rows, language)


def error_card(error: Mapping[str, Any], cluster: str, language: str = "en") -> list[str]:
    """The card of a refusal or a failure: what happened, the state of the world, safe next commands."""
    rows = [(name, str(error[name])) for name in ("attempted", "happened", "remedy")]
    if language == JAPANESE:
        # Every command loads this card, and few fail in Japanese.
        from ..core.error_words import japanese_of

        # Names and numbers are only in the program's own words.
        happened, remedies = japanese_of(error["code"])
        told = [("happened", happened), *(("remedy", one) for one in remedies)]
        rows = [*told, *(("details", text) for _name, text in rows)]
    state = error["details"].get("state")
    if state:
        running = say("state_running" if state["running"] else "state_stopped", language)
        data = say("state_new" if state["swapped"] else "state_old", language, kept=state["kept_directory"])
        rows.append(("state", f"{running}, {data}"))
        rows.append(("next", say("next_again", language)))
        rows.append(("next", f"dbkeeper undo --cluster {cluster} --confirm {cluster}"))
    if error["touched"] is False or state:
        rows.append(("next", f"dbkeeper info --cluster {cluster}"))
    title = "failed_title" if error["touched"] else "refused_title"
    return _card(say(title, language, code=error["code"]), rows, language)


def _what(plan: Mapping[str, Any], language: str) -> list[tuple[str, str]]:
    proof, target = plan["proof"], plan["proof"]["target"]
    rows = [("asked", str(plan["request"]["asked"]))]
    if target["kind"] == "time":
        rows.append(("in_utc", str(target["value"])))
    if target["kind"] == "immediate":
        rows.append(("resolved", say("consistency", language, backup=plan["backup"])))
    else:
        rows.append(("resolved", _position(proof, proof["lsn"], proof["inclusive"], language)))
    rows.append(("last_commit", _commit(proof["last_commit"], language)))
    rows.append(("next_commit", _commit(proof["next_commit"], language)))
    return rows


def _how(plan: Mapping[str, Any], language: str) -> list[tuple[str, str]]:
    wal, reachable, estimate = plan["proof"]["wal"], plan["reachable"], plan["estimate"]
    chosen = "backup_pinned" if plan["request"]["backup"] else "backup_value"
    none = say("none", language)
    source = (
        say("source_measured", language, name=estimate["source"])
        if estimate["source"]
        else say("source_default", language)
    )
    rows = [
        ("backup", say(chosen, language, label=plan["backup"], stopped=plan["backup_stopped_at"])),
        *_chain(plan, language),
        (
            "wal",
            say(
                "wal_value",
                language,
                count=wal["segments"],
                size=format_bytes(wal["plain_bytes"]),
                first=wal["first"],
                last=wal["last"],
            ),
        ),
        (
            "reachable",
            say(
                "reachable_value",
                language,
                oldest=reachable["oldest"] or none,
                newest=reachable["newest"] or none,
            ),
        ),
    ]
    for disk in plan["disk"]:
        rows.append(
            (
                "disk",
                say(
                    "disk_value",
                    language,
                    path=disk["path"],
                    needed=format_bytes(disk["needed_bytes"]),
                    free=format_bytes(disk["free_bytes"]),
                ),
            )
        )
    rows.append(
        (
            "time",
            say(
                "time_value",
                language,
                total=format_duration(estimate["total_seconds"]),
                downtime=format_duration(estimate["downtime_seconds"]),
                source=source,
            ),
        )
    )
    return rows


def _chain(plan: Mapping[str, Any], language: str) -> list[tuple[str, str]]:
    """Whose journal was written by an older version has none."""
    chain = plan.get("chain", [])
    if len(chain) < 2:
        return []
    size = format_bytes(sum(link["plain_bytes"] for link in chain))
    text = say("chain_value", language, full=chain[0]["label"], count=len(chain) - 1, size=size)
    return [("chain", text)]


def _price(plan: Mapping[str, Any], language: str) -> list[tuple[str, str]]:
    exists = plan["live"]["exists"]
    kept = (
        say("kept_value", language, path=plan["kept_directory"]) if exists else say("kept_nothing", language)
    )
    rows = [("kept", kept), *_losses(plan["lost"], plan, language)]
    if plan["stop_first"]:
        rows.append(("warning", say("stop_first", language)))
    rows += [("warning", str(warning)) for warning in plan["warnings"]]
    rows += [("warning", say(note["key"], language, **note["values"])) for note in plan["notes"]]
    return rows


def _losses(lost: Mapping[str, Any], plan: Mapping[str, Any], language: str) -> list[tuple[str, str]]:
    rows = []
    if lost["from"]:
        size = format_bytes(lost["archived_wal_bytes"])
        rows.append(("lost", say("lost_value", language, start=lost["from"], end=lost["until"], size=size)))
    else:
        rows.append(("lost", say("lost_nothing", language)))
    if lost["unarchived_segments"] and not plan["stop_first"]:
        rows.append(("lost", say("lost_unarchived", language, count=len(lost["unarchived_segments"]))))
    if lost["since_the_archive_ends"]:
        rows.append(("lost", say("lost_since", language)))
    return rows


def _position(proof: Mapping[str, Any], lsn: str, inclusive: bool, language: str) -> str:
    side = say("after" if inclusive else "before", language)
    return say("resolved_value", language, side=side, lsn=lsn, timeline=proof["timeline"])


def _commit(commit: Mapping[str, Any] | None, language: str) -> str:
    if commit is None:
        return say("none", language)
    return say("commit_value", language, time=commit["time"], xid=commit["xid"], lsn=commit["lsn"])


def _card(title: str, rows: list[tuple[str, str]], language: str) -> list[str]:
    labels = [say(row[0], language) for row in rows]
    width = max(_columns(label) for label in labels)
    lines = [_RULE, title, _RULE]
    before = ""
    for label, value in zip(labels, [row[1] for row in rows]):
        shown = "" if label == before else label
        lines.append(f"{shown}{' ' * (width - _columns(shown))}  {value}")
        before = label
    lines.append(_RULE)
    return lines


def _columns(text: str) -> int:
    """Terminal columns: Japanese characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
