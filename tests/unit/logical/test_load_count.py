# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""When a large table is counted while others are loaded: not before its rows are in."""

from __future__ import annotations

import threading
from typing import cast

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.logical.contents import Entry
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.logical.load_count import Meanwhile
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.logical.rows import COUNT, TableRows

ROWS = {"public.large": TableRows(1_000_000)}
ENTRIES = (
    Entry(1, "TABLE", "public", "large", "app", "", "", frozenset()),
    Entry(2, "TABLE DATA", "public", "large", "app", "", "", frozenset({1})),
)
DATA = 'processing data for table "public.large"'


class Counting(Meanwhile):
    """Asks no server."""

    def __init__(self, jobs: int) -> None:
        config = cast(ClusterConfig, None)
        super().__init__(config, "app", entries=ENTRIES, expected=ROWS, level=COUNT, jobs=jobs)
        self.done = threading.Event()

    def _count(self, *wanted: str) -> dict[str, TableRows]:
        self.done.set()
        return {".".join(wanted): TableRows(1)}

    @property
    def waits(self) -> bool:
        """Whether it still waits for something of the table."""
        return bool(self._left)


def test_with_one_job_what_was_begun_before_is_done() -> None:
    with Counting(1) as meanwhile:
        meanwhile.said(DATA)
        assert meanwhile.done.wait(60)


def test_with_several_jobs_only_what_is_said_to_be_finished() -> None:
    with Counting(2) as meanwhile:
        meanwhile.said(DATA)
        assert meanwhile.waits
        meanwhile.finished(2)
        assert meanwhile.done.wait(60)
    assert not meanwhile.waits


@pytest.mark.parametrize("number", [1, 3])
def test_another_entry_is_nothing_of_it(number: int) -> None:
    with Counting(2) as meanwhile:
        meanwhile.finished(number)
        assert meanwhile.waits
