# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""When a role need not come, because what it wants is there."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.filter.in_effect import FilterModule
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.blocks import (
    blocks_of,
    wanted_text,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.parts import all_in_effect
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.request import FileRequest

SETTINGS = FileRequest("settings", "/etc/pg/conf.d/20-dbkeeper.conf", "work_mem = '4MB'\n")
BLOCK = FileRequest("hba", "/etc/pg/pg_hba.conf", "local all keeper peer", block="backup")


def told(*files: FileRequest, roles: tuple[str, ...] = ()) -> dict[str, Any]:
    """What a server with those files says, worked out without the code that is tried."""
    parts = []
    for file in files:
        text = file.content if file.content.endswith("\n") else file.content + "\n"
        digest = hashlib.sha256(text.encode()).hexdigest()
        parts.append(
            {"role": file.role, "path": file.path, "block": file.block, "mode": "0640", "digest": digest}
        )
    return {"parts": parts, "replication_roles": list(roles)}


@pytest.mark.parametrize(
    ("wanted", "there", "role", "known"),
    [
        ([SETTINGS, BLOCK], told(SETTINGS, BLOCK, roles=("k",)), "k", True),
        ([SETTINGS, BLOCK], told(BLOCK, SETTINGS), "", True),
        ([SETTINGS], told(SETTINGS, BLOCK), "", True),
        ([SETTINGS, BLOCK], told(SETTINGS), "", False),
        ([SETTINGS], told(SETTINGS, roles=("k",)), "other", False),
        ([replace(SETTINGS, content="work_mem = '5MB'\n")], told(SETTINGS), "", False),
        ([replace(SETTINGS, mode=0o600)], told(SETTINGS), "", False),
        ([replace(BLOCK, block="pgbouncer")], told(BLOCK), "", False),
        ([replace(BLOCK, path="/etc/pg/other")], told(BLOCK), "", False),
        ([SETTINGS], told(), "", False),
    ],
)
def test_all_of_it_or_the_work_is_done(
    wanted: list[FileRequest], there: dict[str, Any], role: str, known: bool
) -> None:
    assert all_in_effect(wanted, there, role) is known


def test_a_result_that_says_nothing_is_no_knowledge() -> None:
    ask = FilterModule().filters()["in_effect"]
    entry = {"role": "settings", "path": SETTINGS.path, "content": SETTINGS.content}
    assert ask([entry], {"in_effect": told(SETTINGS)}) is True
    for result in ({}, {"skipped": True}, {"failed": True}, None, ""):
        assert ask([entry], result) is False


def test_blocks_are_read_as_they_were_written() -> None:
    text = wanted_text(BLOCK, "local all all peer\n")
    text = wanted_text(FileRequest("hba", BLOCK.path, "", block="pgbouncer"), text)
    assert blocks_of(text) == [("pgbouncer", ""), ("backup", "local all keeper peer\n")]
    assert text.endswith("local all all peer\n")
