# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Chains of incremental backups: which are whole, what they become, and what hangs on what."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.catalog import (
    Backup,
    Catalog,
    StoredFile,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.chain import dependents
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.manifest import (
    Manifest,
    ManifestFile,
    combined_bytes,
)

BEGIN = datetime(2026, 11, 21, tzinfo=timezone.utc)


def backup(label: str, parent: str | None = None, **more: Any) -> Backup:
    facts: dict[str, Any] = {
        "status": "verified",
        "started_at": BEGIN + timedelta(hours=int(label[-1])),
        "system_id": 7,
        "major": 17,
        "wal_segment_size": 1 << 20,
        "timeline": 1,
        "kind": "incremental" if parent else "full",
        "parent": parent,
        "parent_manifest": f"of {parent}" if parent else None,
        "data_checksums": True,
        "files": (StoredFile("backup_manifest", 1, f"of {label}"),),
    }
    return Backup(label, **{**facts, **more})


WHOLE = (backup("b0"), backup("b1", "b0"), backup("b2", "b1"), backup("b3", "b0"))


def catalog(**changes: dict[str, Any]) -> Catalog:
    return Catalog(tuple(one.changed(**changes.get(one.label, {})) for one in WHOLE), ())


def test_a_whole_chain_is_told_from_its_full_backup_on() -> None:
    found = catalog()
    assert [one.label for one in found.chain(WHOLE[2])] == ["b0", "b1", "b2"]
    assert [one.label for one in found.chain(WHOLE[0])] == ["b0"]
    assert [one.label for one in found.usable()] == ["b0", "b1", "b2", "b3"]


def test_what_hangs_on_a_backup() -> None:
    known = {one.label: one for one in WHOLE}
    assert dependents("b0", known) == ("b1", "b2", "b3")
    assert dependents("b1", known) == ("b2",)
    assert dependents("b2", known) == ()


@pytest.mark.parametrize(
    ("changes", "code", "word", "left"),
    [
        ({"b1": {"status": "expired"}}, "chain-broken", "expired", ["b0", "b3"]),
        ({"b1": {"status": "failed"}}, "chain-broken", "failed", ["b0", "b3"]),
        ({"b1": {"timeline": 2}}, "chain-broken", "timeline", ["b0", "b3"]),
        ({"b1": {"system_id": 8}}, "chain-broken", "system", ["b0", "b3"]),
        ({"b1": {"files": ()}}, "chain-broken", "not the backup of that label", ["b0", "b1", "b3"]),
        ({"b1": {"parent": None}}, "chain-broken", "not in the catalog", ["b0", "b3"]),
        ({"b1": {"parent": "gone"}}, "chain-broken", "gone", ["b0", "b3"]),
        ({"b1": {"parent": "b2", "parent_manifest": None}}, "chain-broken", "back to itself", ["b0", "b3"]),
        (
            {"b2": {"data_checksums": False}},
            "chain-checksums-changed",
            "on in b0 and off in b2",
            ["b0", "b1", "b3"],
        ),
        ({"b1": {"data_checksums": False}}, "chain-checksums-changed", "off in b1", ["b0", "b3"]),
    ],
)
def test_a_chain_that_is_not_whole_is_no_choice(
    changes: dict[str, dict[str, Any]], code: str, word: str, left: list[str]
) -> None:
    found = catalog(**changes)
    last = next(one for one in found.backups if one.label == "b2")
    with pytest.raises(Refused) as caught:
        found.chain(last)
    assert caught.value.code == code
    assert word in caught.value.happened
    assert [one.label for one in found.usable()] == left


def test_damaged_pages_of_any_link_are_damage() -> None:
    faults = {"count": 1, "files": [{"path": "base/1/2", "count": 1, "blocks": [0]}]}
    found = catalog(b1={"page_faults": faults})
    assert [one.label for one in found.usable()] == ["b0", "b3"]
    assert [one.label for one in found.usable(accept_page_faults=True)] == ["b0", "b1", "b2", "b3"]
    assert found.page_faults(WHOLE[2]) == {"b1": faults}


def manifest(**sizes: int) -> Manifest:
    """``a__b`` is a/b."""
    files = {name.replace("__", "/").replace("INC_", "INCREMENTAL."): size for name, size in sizes.items()}
    return Manifest({path: ManifestFile(path, size, None, None) for path, size in files.items()}, (), 7)


def test_how_large_it_can_become() -> None:
    full = manifest(base__1__10=1000, base__1__11=500, pg_tblspc__16384__x__20=300, base__1__12=7)
    middle = manifest(base__1__INC_10=100, base__1__11=600, pg_tblspc__16384__x__INC_20=10)
    last = manifest(base__1__INC_10=50, base__1__INC_11=20, pg_tblspc__16384__x__INC_20=5, PG_VERSION=3)
    assert combined_bytes([full]) == {0: (1507, 0), 16384: (300, 0)}
    assert combined_bytes([full, middle, last]) == {
        0: (1000 + 100 + 50 + 600 + 20 + 3, 1150 + 620),
        # Heads alone: nothing changed since.
        16384: (315, 0),
    }
