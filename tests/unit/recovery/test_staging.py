# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the staged server gets of the host's memory."""

from __future__ import annotations

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery.staging import (
    prefetching,
    replay_buffers,
)

MB, GB = 1 << 20, 1 << 30


@pytest.mark.parametrize(
    ("available", "buffers"),
    [(0, 32 * MB), (100 * MB, 32 * MB), (1 * GB, 256 * MB), (8 * GB, 2 * GB), (24 * GB, 4 * GB)],
)
def test_a_quarter_of_what_is_free_within_limits(available: int, buffers: int) -> None:
    assert replay_buffers(available) == buffers


@pytest.mark.parametrize(
    ("version", "staged", "available", "settings"),
    [
        (14, 1 * GB, 24 * GB, {}),
        (15, 1 * GB, 24 * GB, {"recovery_prefetch": "off"}),
        (18, 12 * GB, 24 * GB, {"recovery_prefetch": "try"}),
        (17, 500 * GB, 24 * GB, {"recovery_prefetch": "try"}),
    ],
)
def test_blocks_are_announced_where_they_are_not_in_memory(
    version: int, staged: int, available: int, settings: dict[str, str]
) -> None:
    assert prefetching(version, staged, available) == settings
