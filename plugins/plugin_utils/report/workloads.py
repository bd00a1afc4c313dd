# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Workload tests in a line each, for a terminal. Controller only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...module_utils._engine.report.words import say
from .fields import FIELDS
from .texts import failed

_NAMED = {
    "en": "{workload}, {way}, clients: {clients}: {told}",
    "ja": "{workload}、{way}、クライアント数 {clients}: {told}",
}
_MEASURED = {
    "en": "{tps} transactions per second, {latency_ms} each, failed: {failed}",
    "ja": "毎秒 {tps} トランザクション、1 件あたり {latency_ms}、失敗 {failed} 件",
}


def workload_lines(runs: Sequence[Mapping[str, Any]], language: str = "auto") -> list[str]:
    """A line for each run: what came out of it, or why it could not be tested and what to do. C(auto) is English."""
    spoken = "ja" if language == "ja" else "en"
    return [_line(run, spoken) for run in runs]


def _line(run: Mapping[str, Any], language: str) -> str:
    if run.get("error"):
        text = failed(str(run.get("error_code") or ""), str(run["error"]))[language]
        told = f"{text['why']} {text['remedy']}".strip()
    else:
        figures = {
            "tps": round(float(run.get("tps") or 0)),
            "latency_ms": 1000 * float(run.get("latency_seconds") or 0),
            "failed": int(run.get("failed") or 0),
        }
        shown = {name: say.shown(name, value, language) for name, value in figures.items()}
        told = _MEASURED[language].format_map(shown)
    names = {name: _called(str(run.get(name)), language) for name in ("workload", "way")}
    return _NAMED[language].format(**names, clients=run.get("clients"), told=told)


def _called(name: str, language: str) -> str:
    return FIELDS[name][say.LANGUAGES.index(language)] if name in FIELDS else name
