# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The report of ``make test-matrix``: every cell, what it was and what came of it, as JSON and as a table."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

REPORTS = "DBKEEPER_REPORT_DIR"


class Matrix:
    """A plugin of pytest: gathers the cells of all processes, and writes them once, at the end."""

    def __init__(self, config: pytest.Config) -> None:
        # With xdist only the first process sees all reports.
        self._gathers = not hasattr(config, "workerinput")
        self._name = "matrix-slice" if config.option.markexpr == "not matrix" else "matrix"
        self._begun = time.monotonic()
        self._cells: list[dict[str, Any]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One test's end, or its failure before."""
        said = [dict(facts) for name, facts in report.user_properties if name == "cell"]
        marked = "matrix" in report.keywords
        if not self._gathers or not (marked or said):
            return
        if report.when == "call" or (report.when == "setup" and not report.passed):
            head = {"test": report.nodeid, "result": report.outcome, "seconds": round(report.duration, 2)}
            self._cells += [{**head, **facts} for facts in said] or [head]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write ``matrix.json`` and ``matrix.txt``, or ``matrix-slice`` of an ordinary run."""
        if not self._gathers or not self._cells or REPORTS not in os.environ:
            return
        folder = Path(os.environ[REPORTS])
        wall = round(time.monotonic() - self._begun, 1)
        facts = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "wall_seconds": wall,
            "processors": os.cpu_count(),
            "cells": sorted(self._cells, key=lambda cell: str(cell["test"])),
        }
        (folder / f"{self._name}.json").write_text(json.dumps(facts, indent=1) + "\n")
        (folder / f"{self._name}.txt").write_text(table(self._cells) + "\n")
        passed = sum(cell["result"] == "passed" for cell in self._cells)
        terminalreporter.write_line(f"matrix: {len(self._cells)} cells, {passed} passed, {wall:.0f} s")


def table(cells: list[dict[str, Any]]) -> str:
    """One block for each test function: a line of headings, and a line for each cell."""
    blocks: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for cell in cells:
        blocks[str(cell["test"]).partition("[")[0]].append(cell)
    text = []
    for test, members in sorted(blocks.items()):
        names = list(dict.fromkeys(name for cell in members for name in cell if name != "test"))
        rows = [names] + [[str(cell.get(name, "")) for name in names] for cell in members]
        widths = [max(len(row[column]) for row in rows) for column in range(len(names))]
        text.append(f"{test}: {len(members)} cells")
        text += ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        text.append("")
    return "\n".join(text)
