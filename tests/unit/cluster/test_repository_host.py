# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Which description belongs to a repository on this host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.repository_host import (
    RepositoryHost,
    described_there,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused

SHOP = {"format": 1, "cluster": "main", "repository": "/srv/shop"}


def write(directory: Path, name: str, value: Any) -> None:
    (directory / f"{name}.json").write_text(value if isinstance(value, str) else json.dumps(value))


def test_it_is_found_by_what_it_names_and_not_by_its_own_name(tmp_path: Path) -> None:
    write(tmp_path, "a", {**SHOP, "repository": "/srv/crm"})
    write(tmp_path, "b", {**SHOP, "language": "ja"})
    write(tmp_path, "c", "{")
    write(tmp_path, "d", [])
    found = described_there("/srv/shop/", "main", directory=str(tmp_path))
    assert found == RepositoryHost("main", "/srv/shop", language="ja")
    assert (found.state_directory, found.repository_is_elsewhere) == ("/srv/shop/main", False)
    assert described_there("/srv/shop", "other", directory=str(tmp_path)) is None
    assert described_there("/srv/shop", "main", directory=str(tmp_path / "none")) is None


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ({**SHOP, "cluster": "other"}, "repository-other"),
        ({**SHOP, "data_directory": "/x"}, "config-malformed"),
        ({**SHOP, "format": 2}, "config-malformed"),
        ({**SHOP, "copies": {"x": {"to": "nowhere"}}}, "config-malformed"),
        ("{", "file-damaged"),
    ],
)
def test_what_is_wrong_is_refused(tmp_path: Path, value: Any, code: str) -> None:
    write(tmp_path, "x", value)
    with pytest.raises(Refused) as caught:
        described_there("/srv/shop", "main", str(tmp_path / "x.json"))
    assert caught.value.code == code


def test_two_of_the_same_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "a", SHOP)
    write(tmp_path, "b", SHOP)
    with pytest.raises(Refused) as caught:
        described_there("/srv/shop", "main", directory=str(tmp_path))
    assert caught.value.code == "repository-twice"
