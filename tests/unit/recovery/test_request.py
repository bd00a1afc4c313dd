# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Targets as people give them: exactly one, meant, and with a zone."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery.request import (
    RestoreRequest,
    target_from,
)

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "target-missing"),
    ({"time": "2026-11-21 03:04:05Z", "xid": "800"}, "targets-conflict"),
    ({"latest": True, "immediate": True}, "targets-conflict"),
    ({"time": "2026-11-21 03:04:05"}, "time-without-zone"),
    ({"time": "now"}, "time-malformed"),
    ({"lsn": "0-3000060"}, "lsn-malformed"),
    ({"lsn": "G/0"}, "lsn-malformed"),
    ({"xid": "2"}, "target-malformed"),
    ({"xid": "-5"}, "target-malformed"),
    ({"xid": "abc"}, "target-malformed"),
    ({"name": ""}, "target-malformed"),
    ({"name": "x" * 64}, "target-malformed"),
    ({"latest": True, "inclusive": False}, "target-malformed"),
    ({"name": "before", "inclusive": False}, "target-malformed"),
    ({"time": "2026-11-21 03:04:05Z", "timeline": 0}, "target-malformed"),
]


@pytest.mark.parametrize(("options", "code"), REFUSED)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], code: str) -> None:
    with pytest.raises(Refused) as caught:
        target_from(**options)
    assert caught.value.code == code
    assert caught.value.remedy


def test_the_askers_words_are_kept() -> None:
    target, asked = target_from(time="2026-11-21 03:04:05 Asia/Tokyo")
    assert asked == "2026-11-21 03:04:05 Asia/Tokyo"
    assert target.describe() == "time 2026-11-20T18:04:05.000000Z"


def test_requests_that_mean_the_same_are_the_same() -> None:
    def identity(time: str, **options: Any) -> str:
        target, asked = target_from(time=time)
        return RestoreRequest(target, asked, **options).identity

    tokyo = identity("2026-11-21 03:04:05 Asia/Tokyo")
    assert tokyo == identity("2026-11-20T18:04:05Z")
    assert tokyo == identity("2026-11-20T18:04:05Z", again=True)
    assert tokyo != identity("2026-11-20T18:04:06Z")
    assert tokyo != identity("2026-11-20T18:04:05Z", backup="20261120T000000Z-full")
