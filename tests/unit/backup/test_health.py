# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Facts against objectives: what is said for each fact that is not as it should be."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.backup.health import Facts, judge

WINDOW = {
    "timeline": 1,
    "from": "2026-11-21T00:00:00.000000Z",
    "until": "2026-11-21T05:00:00.000000Z",
    "backups": ["newest"],
    "broken": None,
}
ARCHIVER = {
    "on": True,
    "failing": False,
    "last_archived_wal": "000000010000000000000008",
    "last_failed_wal": "000000010000000000000009",
    "archive_timeout_seconds": 300,
    "ready_segments": 2,
}
GOOD = Facts(
    rpo_seconds=900,
    rto_seconds=1800,
    newest_backup="newest",
    newest_backup_age_seconds=3600.0,
    unarchived_seconds=0.0,
    windows=(WINDOW,),
    server={"running": True, "version": "15.18", "reason": "process 42"},
    archiver=ARCHIVER,
    free_bytes=100,
    largest_backup_bytes=50,
    measured={"seconds": 100.0, "at": "2026-11-20T03:00:00Z", "trial": None},
)
GAP = {"code": "segment-missing", "first": "A", "last": "B", "text": "", "timeline": 1}
BROKEN = {**WINDOW, "broken": GAP}


def test_all_is_well() -> None:
    assert {check.state for check in judge(GOOD)} == {"ok"}
    assert len({check.name for check in judge(GOOD)}) == len(judge(GOOD)) == 11


CASES: list[tuple[dict[str, Any], str, str, str]] = [
    ({"server": {"running": False, "reason": "no pid file"}}, "server", "failed", "no pid file"),
    ({"archiver": None}, "archiving", "warning", "no server answers"),
    (
        {"leftovers": ({"path": "/wal/.tmp-1", "bytes": 7, "age_seconds": 7200.0},)},
        "leftovers",
        "warning",
        "2 h",
    ),
    (
        {"leftovers": ({"path": "/wal/.tmp-1", "bytes": 7, "age_seconds": 60.0},)},
        "leftovers",
        "ok",
        "no file",
    ),
    ({"leftovers": None}, "leftovers", "warning", "not looked for"),
    ({"archiver": None}, "rpo", "warning", "no server answers"),
    ({"archiver": {**ARCHIVER, "on": False}}, "archiving", "failed", "archive_mode"),
    ({"archiver": {**ARCHIVER, "failing": True}}, "archiving", "failed", "000000010000000000000009"),
    ({"archiver": {**ARCHIVER, "archive_timeout_seconds": 0}}, "rpo", "failed", "set 300 s or less"),
    ({"archiver": {**ARCHIVER, "archive_timeout_seconds": 901}}, "rpo", "failed", "901 s"),
    ({"unarchived_seconds": 901.0}, "rpo", "failed", "15 min"),
    (
        {"newest_backup": None, "newest_backup_age_seconds": None},
        "backup",
        "failed",
        "no verified backup",
    ),
    (
        {"newest_backup_age_seconds": 31 * 3600.0},
        "backup",
        "failed",
        "31 h 0 min old, the objective is 30 h",
    ),
    ({"newest_backup_age_seconds": 9 * 86400.0}, "backup", "failed", "schedule"),
    ({"newest_backup_age_seconds": -3600.0}, "backup", "warning", "clock"),
    ({"damaged": ("bad",)}, "catalog", "failed", "bad"),
    ({"broken_chains": ({"label": "b", "text": "its parent a"},)}, "catalog", "warning", "parent a"),
    (
        {"page_faults": ({"label": "b", "faults": "2 damaged pages"},), "newest_copy": "b"},
        "pages",
        "failed",
        "2 damaged pages",
    ),
    (
        {"page_faults": ({"label": "b", "faults": "2 damaged pages"},), "newest_copy": "c"},
        "pages",
        "warning",
        "newer ones have none",
    ),
    (
        {"archive_error": {"code": "version-mismatch", "happened": "16"}},
        "archive",
        "failed",
        "version-mismatch",
    ),
    ({"gaps": (GAP,), "windows": (BROKEN,)}, "archive", "failed", "from A to B"),
    # A newer backup lies behind the gap: history is lost, the present is not.
    (
        {"gaps": (GAP,), "windows": ({**BROKEN, "backups": ["older"]}, WINDOW)},
        "archive",
        "warning",
        "from A to B",
    ),
    ({"faulty": ({"name": "C"},)}, "archive", "warning", "C first"),
    ({"conflicts": ("/r/.conflict-D",)}, "archive", "failed", "two servers may write"),
    ({"windows": ()}, "window", "failed", "nothing can be restored"),
    ({"windows": ({**BROKEN, "backups": []},)}, "window", "failed", "nothing can be restored"),
    ({"unarchived_seconds": None}, "rpo", "failed", "archive_status cannot be read"),
    ({"measured": None}, "rto", "warning", "dbkeeper verify --trial"),
    ({"measured": {"seconds": 1801.0, "at": "2026-11-20T03:00:00Z"}}, "rto", "failed", "30 min"),
    (
        {"measured": {"seconds": 9.0, "at": "2026-11-20T03:00:00Z", "trial": "shop"}},
        "rto",
        "ok",
        "no restore of",
    ),
    (
        {"measured": {"seconds": 1801.0, "at": "2026-11-20", "trial": "shop"}},
        "rto",
        "failed",
        "shop alone",
    ),
    ({"free_bytes": 49}, "disk", "failed", "49 B"),
    ({"free_bytes": 99}, "disk", "warning", "one more"),
]


@pytest.mark.parametrize(("changes", "name", "state", "word"), CASES)
def test_what_is_wrong_is_said(changes: dict[str, Any], name: str, state: str, word: str) -> None:
    found = {check.name: check for check in judge(replace(GOOD, **changes))}
    assert found[name].state == state
    assert word in found[name].text


JAPANESE = re.compile("[぀-ヿ一-鿿]")


@pytest.mark.parametrize("changes", [{}, *(case[0] for case in CASES)], ids=str)
def test_every_sentence_is_there_in_japanese_too(changes: dict[str, Any]) -> None:
    for check in judge(replace(GOOD, **changes)):
        assert JAPANESE.search(check.text_ja) and not JAPANESE.search(check.text)
        assert "{" not in check.text_ja
