# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the role backup asks of the server: rendered by Ansible, nothing is executed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

ROLE = Path(__file__).resolve().parents[3] / "roles/backup"
LOADER = DataLoader()


def settings(version: str, interval_seconds: int, **chosen: str) -> Any:
    """The derived settings that depend on the version."""
    variables: dict[str, Any] = {}
    for path in ("defaults/main.yml", "vars/main.yml"):
        variables |= LOADER.load_from_file(str(ROLE / path), trusted_as_template=True)
    goals = {"interval_seconds": interval_seconds, "archive_timeout_seconds": 300}
    variables |= {"postgresql_location": {"version": version}, "__backup_goals": goals, **chosen}
    return Templar(loader=LOADER, variables=variables).template(variables["__backup_settings_17"])


@pytest.mark.parametrize(
    ("version", "interval", "chosen", "expected"),
    [
        ("16", 86400, {}, {}),
        ("17", 86400, {"backup_kind": "full"}, {}),
        # The server's own default, where two backups come within ten days.
        ("17", 86400, {}, {"summarize_wal": "on", "wal_summary_keep_time": "14400min"}),
        ("18", 5 * 86400, {}, {"summarize_wal": "on", "wal_summary_keep_time": "14400min"}),
        # Weekly: one that failed is no reason for a full one.
        ("18", 7 * 86400, {}, {"summarize_wal": "on", "wal_summary_keep_time": "20160min"}),
    ],
)
def test_summaries_are_kept_longer_than_backups_are_apart(
    version: str, interval: int, chosen: dict[str, str], expected: dict[str, str]
) -> None:
    assert settings(version, interval, **chosen) == expected
