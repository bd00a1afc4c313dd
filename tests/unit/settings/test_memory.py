# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A trial that lacks only what the real server holds is no reason to refuse."""

from __future__ import annotations

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.memory import (
    Held,
    held_in,
    would_fit,
)

#: From a server of 15 with 32 MB of shared_buffers, and one with huge pages.
MAPS = """\
55d0c7a00000-55d0c7a4f000 r--p 00000000 fe:01 5507 /usr/lib/postgresql/15/bin/postgres
7f731bf35000-7f731e9f3000 rw-s 00000000 00:01 23687                      /dev/zero (deleted)
7f7320bd3000-7f7320bd8000 rw-s 00000000 00:1b 38500                      /dev/shm/PostgreSQL.3156110478
7f7320e1d000-7f7320e1e000 rw-s 00000000 00:01 1346818                    /SYSV001c2003 (deleted)
"""
HUGE = "7f0000000000-7f0010000000 rw-s 00000000 00:0f 23687          /anon_hugepage (deleted)\n"
WORDS = (
    "FATAL:  could not map anonymous shared memory: Cannot allocate memory\n"
    "HINT:  ... To reduce the request size (currently 1000 bytes), reduce PostgreSQL's shared memory usage ..."
)
MEMORY = {"CommitLimit": 5000, "Committed_AS": 4500}


@pytest.mark.parametrize(
    ("maps", "held"),
    [(MAPS, Held(0x7F731E9F3000 - 0x7F731BF35000, False)), (HUGE, Held(256 << 20, True)), ("", Held())],
)
def test_what_a_server_holds(maps: str, held: Held) -> None:
    assert held_in(maps) == held


@pytest.mark.parametrize(
    ("words", "held", "mode", "fits"),
    [
        (WORDS, 500, "2", True),
        (WORDS, 499, "2", False),
        # The kernel that does not count would have given it, were there any.
        (WORDS, 500, "0", False),
        ("FATAL:  could not access file", 500, "2", False),
        ("FATAL:  could not map anonymous shared memory", 500, "2", False),
    ],
)
def test_what_fits_when_the_real_server_has_stopped(words: str, held: int, mode: str, fits: bool) -> None:
    assert would_fit(words, Held(held), mode, MEMORY) is fits
