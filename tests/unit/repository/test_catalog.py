# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Catalog entries there and back, and entries that cannot be believed."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Failed, Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.catalog import (
    RUNNING,
    STATUSES,
    VERIFIED,
    Backup,
    StoredFile,
    Tablespace,
    backup_label,
    check_label,
    read_backup,
    read_catalog,
    write_backup,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.layout import Repository

NOON = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
LSNS = st.one_of(st.none(), st.integers(0, 2**64 - 1))
TIMES = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(timezone.utc))


def backup(label: str = "20261121T120000Z-full", **values: Any) -> Backup:
    facts: dict[str, Any] = {
        "status": VERIFIED,
        "started_at": NOON,
        "stopped_at": NOON + timedelta(minutes=1),
        "system_id": 7512345678901234567,
        "major": 15,
        "wal_segment_size": 16 << 20,
        "timeline": 1,
        "start_lsn": 0x2000028,
        "stop_lsn": 0x2000138,
    }
    return Backup(label=label, **(facts | values))


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(str(tmp_path), "main")
    made.create()
    return made


@given(st.sampled_from(STATUSES), TIMES, LSNS, LSNS, st.integers(0, 2**64 - 1))
def test_json_there_and_back(
    status: str, moment: datetime, start: int | None, stop: int | None, system_id: int
) -> None:
    before = backup(
        status=status,
        started_at=moment,
        start_lsn=start,
        stop_lsn=stop,
        system_id=system_id,
        tablespaces=(Tablespace(16384, "/data/ts", "fast", 10),),
        files=(StoredFile("base.tar.zst", 5, "00" * 32),),
        seconds={"copy": 1.5},
        settings={"max_connections": 100},
    )
    text = json.dumps(before.to_dict())
    assert Backup.from_dict(json.loads(text), label=before.label) == before


def test_json_is_in_the_servers_words() -> None:
    value = backup().to_dict()
    assert value["start_lsn"] == "0/2000028"
    assert value["started_at"] == "2026-11-21T12:00:00.000000Z"
    assert value["system_id"] == "7512345678901234567"


def test_the_catalog_lists_the_oldest_first(repository: Repository) -> None:
    write_backup(repository, backup("b", started_at=NOON))
    write_backup(repository, backup("a", started_at=NOON + timedelta(hours=1)))
    write_backup(repository, backup("c", started_at=NOON + timedelta(hours=2), status=RUNNING))
    catalog = read_catalog(repository)
    assert [one.label for one in catalog.backups] == ["b", "a", "c"]
    assert [one.label for one in catalog.usable()] == ["b", "a"]
    assert catalog.damaged == ()
    assert read_backup(repository, "b") == backup("b")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        json.dumps(backup("bad").to_dict() | {"format": 2}),
        json.dumps(backup("bad").to_dict() | {"label": "other"}),
        json.dumps(backup("bad").to_dict() | {"status": "fine"}),
        json.dumps(backup("bad").to_dict() | {"start_lsn": "yesterday"}),
        json.dumps(backup("bad").to_dict() | {"started_at": "noon"}),
        json.dumps(backup("bad").to_dict() | {"surprise": 1}),
        json.dumps(backup("bad").to_dict() | {"files": [{"name": "x"}]}),
        json.dumps({k: v for k, v in backup("bad").to_dict().items() if k != "major"}),
        None,
    ],
)
def test_damaged_entries_are_listed_and_never_found(repository: Repository, content: str | None) -> None:
    write_backup(repository, backup("good"))
    directory = Path(repository.backup("bad"))
    directory.mkdir()
    if content is not None:
        (directory / "backup.json").write_text(content)
    catalog = read_catalog(repository)
    assert [one.label for one in catalog.backups] == ["good"]
    assert [entry.label for entry in catalog.damaged] == ["bad"]
    assert catalog.damaged[0].error.code == "backup-entry-damaged"
    with pytest.raises(Failed) as caught:
        catalog.find("bad")
    assert caught.value is catalog.damaged[0].error


def test_an_unknown_label_is_answered_with_the_known_ones(repository: Repository) -> None:
    write_backup(repository, backup("good"))
    write_backup(repository, backup("unfinished", status=RUNNING))
    with pytest.raises(Refused) as caught:
        read_catalog(repository).find("other")
    assert caught.value.code == "backup-unknown"
    assert caught.value.details == {"labels": ["good"]}
    with pytest.raises(Refused) as caught:
        read_backup(repository, "other")
    assert caught.value.code == "backup-unknown"


@pytest.mark.parametrize("status", [status for status in STATUSES if status != VERIFIED])
def test_only_verified_backups_have_facts(status: str) -> None:
    with pytest.raises(Refused) as caught:
        backup(status=status, failure="killed").facts()
    assert caught.value.code == "backup-not-verified"
    assert f"its status is {status}: killed" in caught.value.happened


@pytest.mark.parametrize("name", ["timeline", "start_lsn", "stop_lsn", "stopped_at"])
def test_a_verified_backup_without_its_facts_is_damaged(name: str) -> None:
    with pytest.raises(Failed) as caught:
        backup(**{name: None}).facts()
    assert caught.value.code == "backup-entry-damaged"


def test_facts() -> None:
    facts = backup().facts()
    assert (facts.label, facts.timeline, facts.start_lsn, facts.stop_lsn) == (
        "20261121T120000Z-full",
        1,
        0x2000028,
        0x2000138,
    )
    assert (facts.system_id, facts.wal_segment_size, facts.major) == (7512345678901234567, 16 << 20, 15)


def test_labels() -> None:
    assert backup_label(NOON.astimezone(timezone(timedelta(hours=9)))) == "20261121T120000Z-full"
    assert check_label("20261121T120000Z-full") == "20261121T120000Z-full"
    for label in ("", ".", "..", "../x", "a/b", "-x", "x" * 64, "a b", "é", "a\n"):
        with pytest.raises(Refused) as caught:
            check_label(label)
        assert caught.value.code == "label-malformed"
