# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Taking all digests again: what a copy holds is held against its sheet, also where nobody here can decrypt it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.execute import Execution
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.objects import Group, Item
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.plan import make_plan
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.sheets import WHOLE, Kept, Sheet
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.stores import Stored, Throttle

KEY = "wal/7/00000001/000000010000000000000001.zst"
ITEM = Item(KEY, "/nonexistent", 10, "signature", 1.0)
GROUP = Group("wal/7/00000001", "wal", (ITEM,))
KEPT = Kept(f"{KEY}.age", 30, "d" * 64, 10, "p" * 64, "signature", 1.0)
SHEETS = {GROUP.name: Sheet(GROUP.name, "wal", WHOLE, {}, {KEY: KEPT})}


class Store:
    """One that has the object, as it was sent or not."""

    renames = True
    where = "here"

    def __init__(self, found: Stored | None) -> None:
        self.found = found
        self.looked: list[str] = []
        self.put_names: list[str] = []

    def look(self, name: str) -> Stored | None:
        self.looked.append(name)
        return self.found

    def put(self, name: str, source: Any) -> Stored:
        self.put_names.append(name)
        return Stored(31, "e" * 64, "read-back")

    def write(self, name: str, data: bytes) -> None:
        """A sheet."""


class Sealer:
    """Nobody's key is needed."""

    suffix = ".age"


@pytest.mark.parametrize(
    ("found", "sent"),
    [
        (Stored(30, "d" * 64, "read-back"), 0),
        (Stored(30, "x" * 64, "read-back"), 1),
        (None, 1),
    ],
)
def test_what_is_encrypted_is_held_against_its_sheet(found: Stored | None, sent: int) -> None:
    there = {KEPT.name: KEPT.bytes}
    assert not make_plan([GROUP], SHEETS, there, ".age").changes
    plan = make_plan([GROUP], SHEETS, there, ".age", check_all=True)
    store: Any = Store(found)
    sealer: Any = Sealer()
    done = Execution(
        store, sealer, Throttle(None), progress=lambda _bytes: None, watch=lambda _deed: None
    ).run(plan)
    assert store.looked == [KEPT.name] and store.put_names == [KEPT.name] * sent
    assert (done.objects, done.adopted) == (sent, 1 - sent)
