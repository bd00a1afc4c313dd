# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""docs/query-and-health-findings names every finding and every threshold with its values, in both languages."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.health.limits import (
    NAMES,
    PROFILES,
    Limits,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.words import health, queries, upkeep

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.mark.parametrize(("language", "suffix"), [("en", ""), ("ja", ".ja")])
def test_the_page_has_every_finding_and_threshold(language: str, suffix: str) -> None:
    lines = (DOCS / f"query-and-health-findings{suffix}.md").read_text(encoding="utf-8").splitlines()
    rows = {line.split("`")[1]: line for line in lines if line.startswith("| `")}
    entries = {**queries.FINDINGS, **health.FINDINGS, **upkeep.FINDINGS}
    assert set(rows) == set(entries) | set(NAMES)
    for key, entry in entries.items():
        assert entry.title.of(language) in rows[key]
    for name in NAMES:
        for profile in PROFILES:
            one = Limits(profile)[name]
            shown = ["–" if value is None else f"{value:g}" for value in (one.warning, one.critical)]
            assert " / ".join(shown) in rows[name]
