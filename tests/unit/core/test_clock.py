# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Times with a zone: what is taken, what is refused, and what the refusal offers."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.clock import (
    format_utc,
    label_time,
    parse_moment,
    parse_utc,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused

MOMENTS = [
    ("2026-11-21T03:04:05Z", "2026-11-21T03:04:05.000000Z"),
    ("2026-11-21 03:04:05 UTC", "2026-11-21T03:04:05.000000Z"),
    ("2026-11-21 03:04:05+09:00", "2026-11-20T18:04:05.000000Z"),
    ("2026-11-21 03:04:05+09", "2026-11-20T18:04:05.000000Z"),
    ("2026-11-21 03:04:05.123456-0530", "2026-11-21T08:34:05.123456Z"),
    ("2026-11-21 03:04:05.5Z", "2026-11-21T03:04:05.500000Z"),
    ("2026-11-21 03:04 Asia/Tokyo", "2026-11-20T18:04:00.000000Z"),
    ("2026-07-01 12:00:00 Europe/Paris", "2026-07-01T10:00:00.000000Z"),
    ("2026-01-01 12:00:00 Europe/Paris", "2026-01-01T11:00:00.000000Z"),
    ("2026-01-01 12:00:00 America/Argentina/Buenos_Aires", "2026-01-01T15:00:00.000000Z"),
]

REFUSED = [
    ("2026-11-21 03:04:05", "time-without-zone"),
    ("2026-11-21T03:04", "time-without-zone"),
    ("yesterday", "time-malformed"),
    ("", "time-malformed"),
    ("2026-11-21", "time-malformed"),
    ("2026-11-21 3:04:05Z", "time-malformed"),
    ("2026-02-30 00:00:00Z", "time-malformed"),
    ("2026-11-21 24:00:00Z", "time-malformed"),
    ("2026-11-21 03:04:05 JST", "time-malformed"),
    ("2026-11-21 03:04:05 CET", "time-malformed"),
    ("2026-11-21 03:04:05 Asia/Tokio", "zone-unknown"),
    ("2026-11-21 03:04:05 ../../etc/passwd", "time-malformed"),
    ("2026-11-21 03:04:05+24:00", "zone-unknown"),
    ("2026-10-25 02:30:00 Europe/Paris", "time-ambiguous"),
    ("2026-03-29 02:30:00 Europe/Paris", "time-nonexistent"),
]


@pytest.mark.parametrize(("text", "utc"), MOMENTS)
def test_a_moment_with_a_zone_is_taken(text: str, utc: str) -> None:
    assert format_utc(parse_moment(text, attempted="test")) == utc


@pytest.mark.parametrize(("text", "code"), REFUSED)
def test_everything_else_is_refused_with_its_code(text: str, code: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_moment(text, attempted="test")
    assert caught.value.code == code
    assert caught.value.remedy


def test_an_ambiguous_time_offers_both_moments_in_utc() -> None:
    with pytest.raises(Refused) as caught:
        parse_moment("2026-10-25 02:30:00 Europe/Paris", attempted="test")
    assert caught.value.details["candidates"] == [
        "2026-10-25T00:30:00.000000Z",
        "2026-10-25T01:30:00.000000Z",
    ]
    for candidate in caught.value.details["candidates"]:
        assert candidate in caught.value.remedy


@given(
    st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2090, 1, 1)),
    st.integers(min_value=-14 * 60, max_value=14 * 60),
)
def test_an_offset_is_arithmetic(local: datetime, minutes: int) -> None:
    sign, size = ("-" if minutes < 0 else "+"), abs(minutes)
    text = f"{local:%Y-%m-%d %H:%M:%S.%f}{sign}{size // 60:02d}:{size % 60:02d}"
    expected = (local - timedelta(minutes=minutes)).replace(tzinfo=timezone.utc)
    assert parse_moment(text, attempted="test") == expected
    assert parse_utc(format_utc(expected)) == expected


def test_a_label_is_utc() -> None:
    moment = parse_moment("2026-11-21 12:15:00+09:00", attempted="test")
    assert label_time(moment) == "20261121T031500Z"
