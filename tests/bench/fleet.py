# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A large fleet's report: how long it takes to join and write it, and until a browser has drawn its page."""

from __future__ import annotations

import tempfile
from datetime import datetime, timezone
from pathlib import Path

from ansible_collections.dbkeeper.ops.plugins.plugin_utils.report.operation import make
from tests.headless import browser
from tests.report_hosts import fleet

from .record import Row, say, spent

_WRITTEN_SECONDS = 60.0
_DRAWN_SECONDS = 2.0


def measure(*, nodes: int, findings: int, repeat: int) -> list[Row]:
    """Rows for writing and for opening; each the median of several."""
    hosts = fleet(nodes, findings)
    written: list[float] = []
    drawn: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "report"
        for _dummy in range(repeat):
            with spent(written):
                made = make(hosts, directory, now=datetime.now(timezone.utc))
        page = Path(made["files"]["report.html"])
        size = page.stat().st_size
        for number in range(repeat):
            with browser(Path(folder) / f"browser{number}") as view:
                view.size(1280, 900)
                view.open(page)
                drawn.append(float(view.run("document.documentElement.dataset.drawn")) / 1000)
    what = f"{nodes} nodes, {findings} findings"
    say(f"report of {what}: written in {written} s, {size / 1e6:.1f} MB drawn in {drawn} s")
    return [
        _row(f"report of {what}: joined and written", written, _WRITTEN_SECONDS, page_bytes=size),
        _row(f"report of {what}: opened and drawn in Chromium", drawn, _DRAWN_SECONDS, page_bytes=size),
    ]


def _row(name: str, seconds: list[float], most: float, **notes: int) -> Row:
    median = sorted(seconds)[len(seconds) // 2]
    return Row(
        name, round(median, 3), "", None, None, f"<= {most:g} s", median <= most, {"ours": seconds}, notes
    )
