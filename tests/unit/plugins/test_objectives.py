# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Objectives become settings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.plugin_utils._objectives import backup_objectives


@pytest.mark.parametrize(
    ("rpo", "rto", "archive_timeout", "interval_hours", "hours"),
    [
        ("15m", "30m", 300, 24, [2]),
        ("15m", "15m", 300, 12, [2, 14]),
        ("1m", "5m", 20, 4, [2, 6, 10, 14, 18, 22]),
        ("24h", "4h", 3600, 24, [2]),
        ("2s", "1m", 1, 1, list(range(24))),
    ],
)
def test_settings_follow(
    rpo: str, rto: str, archive_timeout: int, interval_hours: int, hours: list[int]
) -> None:
    goals = backup_objectives(rpo, rto)
    assert goals["archive_timeout_seconds"] == archive_timeout
    assert goals["interval_seconds"] == interval_hours * 3600
    assert goals["hours"] == hours
    assert goals["pinned"] == []


def test_a_value_given_by_hand_wins() -> None:
    goals = backup_objectives("15m", "30m", "7m", "9h")
    assert goals["archive_timeout_seconds"] == 420
    assert goals["interval_seconds"] == 8 * 3600
    assert goals["pinned"] == ["archive_timeout", "interval"]


@given(rpo=st.integers(3, 10**7), rto=st.integers(0, 10**7))
def test_the_derived_values_keep_the_objectives(rpo: int, rto: int) -> None:
    goals = backup_objectives(f"{rpo}s", f"{rto}s")
    assert 1 <= goals["archive_timeout_seconds"] * 3 <= max(rpo, 3)
    assert len(goals["hours"]) * goals["interval_seconds"] == 86400
    assert goals["hours"] == sorted(set(goals["hours"]))


def test_nonsense_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        backup_objectives("a while", "30m")
    assert caught.value.code == "duration-malformed"
