# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Results as plain text, for those who did not ask for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.progress import describe
from ..core.sizes import format_bytes, format_duration


def backup(result: Mapping[str, Any]) -> list[str]:
    """What a backup did, or would do."""
    if not result["changed"]:
        return [f"nothing to do: {result['plan'].get('reason') or 'a verified backup is there'}"]
    if not result["executed"]:
        return ["would take a base backup:", *(f"  {step}" for step in result["plan"].get("steps", []))]
    made = result["backup"]
    return [
        f"backup {made['label']} is verified: {format_bytes(made['plain_bytes'])} in "
        f"{format_bytes(made['stored_bytes'])}, WAL {made['start_lsn']} … {made['stop_lsn']}, "
        f"{format_duration(sum(made['seconds'].values()))}"
    ]


def undo(result: Mapping[str, Any]) -> list[str]:
    """What an undo did, or would do."""
    if not result["changed"]:
        return ["nothing to do: the last restore was undone before"]
    plan = result["plan"]
    verb = "" if result["executed"] else "would be "
    lines = []
    if plan["put_aside"]:
        lines.append(f"{verb}put aside: the restored data directory, as {plan['put_aside']}")
    if plan["put_back"]:
        lines.append(f"{verb}put back: {plan['put_back']}")
    if plan["remove"]:
        lines.append(f"{verb}removed: {plan['remove']}")
    return lines


def index(result: Mapping[str, Any]) -> list[str]:
    """How far the WAL index is."""
    return [
        f"system {system_id}: " + ", ".join(f"{name} {value}" for name, value in sorted(facts.items()))
        for system_id, facts in result["archives"].items()
    ] or ["nothing is archived yet"]


def information(result: Mapping[str, Any]) -> list[str]:
    """Backups, windows, gaps, what runs now."""
    lines = [f"cluster {result['cluster']}, repository {result['repository']}"]
    for item in result["backups"]:
        size = format_bytes(item["stored_bytes"]) if item["stored_bytes"] else "-"
        lines.append(f"  backup {item['label']}  {item['status']}  {size}  ended {item['stopped_at'] or '-'}")
    for item in result["dumps"]:
        said = (
            f"{format_bytes(item['stored_bytes'])}, {item['rows']['rows']} rows"
            if item["stored_bytes"]
            else "-"
        )
        wrong = f"  ({item['failure']})" if item["failure"] else ""
        lines.append(f"  {item['key']}  {item['status']}  {said}  ended {item['stopped_at'] or '-'}{wrong}")
    for item in result["damaged_dumps"]:
        lines.append(f"  DAMAGED ENTRY: {item['key']}: {item['error']['happened']}")
    for item in result["broken_chains"]:
        lines.append(f"  BROKEN CHAIN: {item['label']}: {item['text']}")
    for item in result["unsound"]:
        lines.append(f"  DAMAGED FILES: {item['label']}: {item['text']} (since {item['at']})")
    for item in result["page_faults"]:
        lines.append(f"  DAMAGED PAGES: {item['label']} has {item['faults']}")
    for item in result["windows"]:
        lines.append(f"  timeline {item['timeline']}: {item['from']} … {item['until']}")
    for item in result["gaps"]:
        lines.append(f"  GAP: {item}")
    for item in result["conflicts"]:
        lines.append(f"  CONFLICT: {item} was archived before with other content")
    for item in result["archive"].get("partial", ()):
        lines.append(f"  UNFINISHED: {item}, used by a restore only with --use-partial")
    for item in result["leftovers"]:
        lines.append(
            f"  LEFT OVER: {item['path']}, {format_duration(item['age_seconds'])} old, used by nobody"
        )
    if result.get("progress"):
        lines.append(f"  {describe(result['progress'])}")
    return lines
