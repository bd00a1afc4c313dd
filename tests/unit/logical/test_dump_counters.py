# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""When the server's counters say how many rows a dump was given, and when they say nothing."""

from __future__ import annotations

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.logical.dump_counters import (
    Counted,
    returned,
)

BEFORE = Counted(scans=3, rows=100, pages=20)


@pytest.mark.parametrize(
    ("after", "pages", "rows"),
    [
        (Counted(4, 150, 25), 5, 50),
        # Empty, without a page and with some.
        (Counted(4, 100, 20), 0, 0),
        (Counted(4, 100, 25), 5, 0),
        # Not read; read twice; read by a scan and something that counts as none.
        (Counted(3, 100, 20), 5, None),
        (Counted(5, 200, 30), 5, None),
        (Counted(4, 151, 26), 5, None),
        # It has grown or shrunk since it was read.
        (Counted(4, 150, 25), 6, None),
        (Counted(4, 150, 25), 4, None),
        # Counters that began anew.
        (Counted(1, 50, 5), 5, None),
        (Counted(4, 50, 25), 5, None),
        # Not there any more.
        (Counted(4, 150, 25), -1, None),
    ],
)
def test_one_scan_of_every_page_and_nothing_else(after: Counted, pages: int, rows: int | None) -> None:
    assert returned({7: BEFORE}, {7: (after, pages)}) == ({} if rows is None else {7: rows})


def test_a_table_that_nobody_had_ever_touched() -> None:
    assert returned({}, {7: (Counted(1, 50, 5), 5)}) == {7: 50}
