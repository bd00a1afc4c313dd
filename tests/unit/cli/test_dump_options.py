# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Options of ``dbkeeper dump`` beside dumps that are described: what is given counts, or is refused."""

from __future__ import annotations

import argparse
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cli import dump
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.wishes_dumps import DumpWish
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused

DESCRIBED: Any = SimpleNamespace(
    cluster="main",
    dumps=(DumpWish("nightly", "app"), DumpWish("definitions", "app", max_age_seconds=3600)),
)


def asked(*words: str) -> dict[str | None, int | None]:
    """Series and age of all that would be dumped."""
    parser = argparse.ArgumentParser()
    dump.add_dump(parser)
    requests = dump._requests(parser.parse_args(words), DESCRIBED)
    return {one.series or one.label: one.max_age_seconds for one in requests}


def test_an_age_goes_for_described_dumps_too() -> None:
    assert asked() == {"nightly": None, "definitions": 3600}
    assert asked("--max-age", "1d") == {"nightly": 86400, "definitions": 86400}
    assert asked("nightly", "--max-age", "2h") == {"nightly": 7200}
    assert asked("--database", "app", "--label", "x") == {"x": None}


@pytest.mark.parametrize(
    "words", [("--label", "x"), ("nightly", "--label", "x"), ("nightly", "--database", "app")]
)
def test_what_is_meant_for_one_database_is_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(Refused) as refused:
        asked(*words)
    assert refused.value.code == "request-contradictory"
