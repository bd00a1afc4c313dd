# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""``dbkeeper tune``: what suits this host, and what the server has now. Changes nothing."""

from __future__ import annotations

import argparse
import glob
import os
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.host import host_facts
from ..cluster.psql import answers, query
from ..core.errors import Refused
from ..core.sizes import format_bytes
from ..tuning.facts import HostFacts
from ..tuning.inputs import inputs_of
from ..tuning.request import INTENTS, OFF, Request
from ..tuning.tune import tune

_WORDS = {
    "setting": ("setting", "設定"),
    "now": ("now", "現在値"),
    "value": ("value", "推奨値"),
    "effect": ("takes effect", "反映"),
    "why": ("reason", "理由"),
    "reload": ("reload", "再読込"),
    "restart": ("restart", "再起動"),
    "Connections": ("Connections", "接続"),
    "Memory": ("Memory", "メモリ"),
    "WAL and checkpoints": ("WAL and checkpoints", "WAL とチェックポイント"),
    "Planner and disks": ("Planner and disks", "プランナとディスク"),
    "Parallel work": ("Parallel work", "並列処理"),
    "Autovacuum": ("Autovacuum", "自動バキューム"),
    "title": (
        "{intent} on PostgreSQL {version}: {memory} of memory, {cpus} CPUs, disk {disk}",
        "PostgreSQL {version}、用途 {intent}: メモリ {memory}、CPU {cpus} 個、ディスク {disk}",
    ),
    "budget": (
        "memory: {buffers} shared + {connections} connections × {each} + {vacuum} autovacuum = {total},"
        " {percent} % of {memory} (limit 120 %)",
        "メモリ: 共有 {buffers} + {connections} 接続 × {each} + 自動バキューム {vacuum} = {total}、"
        "{memory} の {percent} % (上限 120 %)",
    ),
    "warning": ("WARNING", "警告"),
    "off": ("tuning is off: nothing is chosen", "チューニングは off: 何も変更しません"),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's own options. What is not given is as the present settings file says."""
    parser.add_argument("--intent", choices=(*INTENTS, OFF), help="what the cluster is for")
    parser.add_argument("--connections", help="how many connections there may be; 0: usual for the intent")
    parser.add_argument("--data-size", metavar="SIZE", help="how large the data is going to be: 200GB")
    parser.add_argument("--active-connections", help="how many have been seen to work at the same time")
    parser.add_argument("--pin", action="append", metavar="NAME=VALUE", help="a setting given by hand")
    parser.add_argument("--anew", action="store_true", help="as if there were no settings file yet")


def tune_command(
    options: argparse.Namespace, config: ClusterConfig, language: str
) -> tuple[dict[str, Any], list[str]]:
    """Gather, choose, and show beside what the server has now."""
    previous = None if options.anew else present_inputs(config)
    request = request_from(options, previous)
    facts = HostFacts.from_dict(host_facts(config))
    result = tune(request, facts, previous, language=language)
    now = _now(config, [setting["name"] for setting in result["settings"]])
    for setting in result["settings"]:
        setting["now"] = now.get(setting["name"])
    result = {"changed": False, "facts": facts.to_dict(), **result}
    return result, table(result, language)


def present_inputs(config: ClusterConfig) -> dict[str, Any] | None:
    """What the cluster's settings file was made from: of the files that its configuration includes, the last."""
    directory = os.path.dirname(config.config_file) if config.config_file else config.data_directory
    found = None
    for path in sorted(glob.glob(f"{glob.escape(directory)}/conf.d/*.conf")):
        found = inputs_of(path) or found
    return found


def request_from(options: argparse.Namespace, previous: Mapping[str, Any] | None) -> Request:
    """The options, completed by the request that the present settings came from.

    Raises :class:`Refused`: ``pin-malformed`` and what :meth:`Request.build` raises.
    """
    kept = (previous or {}).get("request")
    before: Mapping[str, Any] = kept if isinstance(kept, Mapping) else {}
    pins = dict(item.split("=", 1) for item in options.pin or [] if "=" in item)
    if len(pins) != len(options.pin or []):
        raise Refused(
            "pin-malformed",
            attempted="understand --pin",
            happened="a setting is not of the form NAME=VALUE",
            remedy="Write --pin work_mem=16MB, each name once.",
        )

    def given(value: Any, name: str, otherwise: Any) -> Any:
        return value if value is not None else before.get(name) or otherwise

    return Request.build(
        given(options.intent, "intent", "mixed"),
        connections=given(options.connections, "connections", 0),
        data_size=given(options.data_size, "data_bytes", ""),
        active_connections=given(options.active_connections, "active_connections", 0),
        pinned={**(before.get("pinned") or {}), **pins},
        minima=before.get("minima") or {},
    )


def _now(config: ClusterConfig, names: list[str]) -> dict[str, str | None]:
    """The running server's values, in its own words; empty when none answers."""
    if not names or not os.access(config.program("pg_isready"), os.X_OK) or not answers(config):
        return {}
    sql = "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY (string_to_array(:'names', ','))"
    return {str(row[0]): row[1] for row in query(config, sql, values={"names": ",".join(names)})}


def table(result: Mapping[str, Any], language: str) -> list[str]:
    """The result for a terminal."""

    def say(key: str, **about: Any) -> str:
        return _WORDS[key][1 if language == "ja" else 0].format(**about)

    facts, request = result["inputs"]["facts"], result["inputs"]["request"]
    lines = [
        say(
            "title",
            intent=request["intent"],
            version=facts["version"],
            memory=format_bytes(facts["memory_bytes"]),
            cpus=facts["cpus"],
            disk=facts["disk"],
        )
    ]
    if not result["settings"]:
        return [*lines, say("off")]
    heading = tuple(say(key) for key in ("setting", "now", "value", "effect", "why"))
    rows = [heading] + [
        (
            setting["name"],
            setting["now"] or "-",
            setting["value"],
            say(setting["takes_effect"]),
            setting["reason"],
        )
        for setting in result["settings"]
    ]
    shown = _columns(rows)
    lines += ["", f"  {shown[0]}"]
    group = ""
    for setting, line in zip(result["settings"], shown[1:]):
        if setting["group"] != group:
            group = setting["group"]
            lines.append(say(group))
        lines.append(f"  {line}")
    budget = result["budget"]
    if budget:
        lines += [
            "",
            say(
                "budget",
                buffers=format_bytes(budget["shared_buffers_bytes"]),
                connections=budget["connections"],
                each=format_bytes(budget["work_mem_bytes"]),
                vacuum=format_bytes(budget["autovacuum_bytes"]),
                total=format_bytes(budget["total_bytes"]),
                percent=round(budget["share"] * 100),
                memory=format_bytes(budget["available_bytes"]),
            ),
        ]
    return lines + [f"{say('warning')}: {text}" for text in result["warnings"]]


def _columns(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Rows as lines; the last column is not filled up."""
    rows = list(rows)
    widths = [max(_width(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return [
        "  ".join([cell + " " * (widths[at] - _width(cell)) for at, cell in enumerate(row[:-1])] + [row[-1]])
        for row in rows
    ]


def _width(text: str) -> int:
    """Columns on a terminal: Japanese letters take two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
