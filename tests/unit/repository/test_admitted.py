# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A conversation is over when the line that opened it is gone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.remote.admitted import Admitted

WORDS = "door --root /srv --cluster main --access append --name db1 --key 0123 --keys /k"
LINE = f'restrict,command="/usr/local/bin/dbkeeper {WORDS}" ssh-ed25519 AAAA dbkeeper:main@db1\n'


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "authorized_keys"
    path.write_text(f"# others\nssh-ed25519 AAAB somebody\n{LINE}")
    return path


@pytest.mark.parametrize(
    "now",
    [
        "",
        f"#{LINE}",
        LINE.replace("append", "read"),
        LINE.replace("0123", "4567"),
        LINE.replace('/k"', '/k --more"'),
    ],
)
def test_another_line_is_not_this_one(keys: Path, now: str) -> None:
    admitted = Admitted(str(keys), WORDS)
    assert admitted() and admitted()
    new = keys.with_name("new")
    new.write_text(now)
    os.replace(new, keys)
    assert not admitted()
    keys.write_text(f"{now}{LINE}")
    assert admitted()


def test_a_file_that_cannot_be_seen_lets_nobody_in(keys: Path) -> None:
    admitted = Admitted(str(keys), WORDS)
    assert admitted()
    keys.unlink()
    assert not admitted()


def test_a_line_of_an_older_release_names_no_file() -> None:
    assert Admitted(None, WORDS)()
