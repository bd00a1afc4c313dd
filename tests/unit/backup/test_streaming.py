# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the state of a receiver's slot means; which streamed files lie on a server's way."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.backup.received import (
    Spool,
    ahead_of,
    off_the_way,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.backup.streaming import streaming_check
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.replication import (
    Identity,
    connection_text,
    parse_connection,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.history import parse_history

MIB = 1 << 20
WELL: dict[str, Any] = {
    "slot": "s",
    "exists": True,
    "active": True,
    "wal_status": "reserved",
    "safe_wal_bytes": None,
    "retained_bytes": MIB,
    "behind_bytes": 0,
    "behind_seconds": None,
    "synchronous": True,
    "guarded": True,
}


@pytest.mark.parametrize(
    ("changes", "state", "words"),
    [
        ({}, "ok", "streams, synchronous, 0 B behind"),
        ({"synchronous": False, "behind_bytes": MIB}, "ok", "asynchronous, 1.0 MB behind"),
        ({"behind_bytes": 65 * MIB}, "warning", "65.0 MB behind"),
        ({"guarded": False}, "warning", "max_slot_wal_keep_size"),
        ({"unknown": "permission denied for view pg_replication_slots"}, "warning", "not known: permission"),
        ({"exists": False}, "failed", "no replication slot s"),
        ({"active": False, "retained_bytes": 3 << 30}, "failed", "holds 3.0 GB of WAL back:"),
        ({"active": False, "guarded": False}, "failed", "without a limit"),
        ({"active": False, "wal_status": "lost"}, "failed", "begins anew"),
        ({"wal_status": "unreserved"}, "failed", "about to be lost"),
    ],
)
def test_the_slot_tells_whether_wal_is_streamed(changes: dict[str, Any], state: str, words: str) -> None:
    found = streaming_check({**WELL, **changes})
    assert (found.name, found.state) == ("receive", state)
    assert words in found.text


def segment(timeline: int, number: int, end: str = "") -> str:
    return f"{timeline:08X}00000000{number:08X}{end}"


def server(timeline: int, history: str = "", flushed: int = 1 << 40) -> Identity:
    return Identity(1, timeline, flushed, parse_history(timeline, history) if history else None)


# Segments of 16 MB: 0/4000010 is in segment 4.
FORK = "1\t0/4000010\tno recovery target specified\n"
SIZE = 16 * MIB


@pytest.mark.parametrize(
    ("names", "identity", "stray"),
    [
        ([segment(1, 3), segment(1, 4, ".partial")], server(1), []),
        # Promoted in the segment that is being streamed: it is streamed again up to the fork, then the new timeline.
        ([segment(1, 3), segment(1, 4, ".partial")], server(2, FORK), []),
        # The old primary went further than the new one knows.
        (
            [segment(1, 4), segment(1, 5, ".partial")],
            server(2, FORK),
            [segment(1, 4), segment(1, 5, ".partial")],
        ),
        ([segment(1, 3), segment(1, 5, ".partial")], server(2, FORK), [segment(1, 5, ".partial")]),
        # Undone: the server is on its first timeline again.
        (
            [segment(1, 4, ".partial"), segment(2, 4), segment(2, 5, ".partial")],
            server(1),
            [segment(2, 4), segment(2, 5, ".partial")],
        ),
        # A sibling: timeline 3 forked from 1, too.
        ([segment(2, 5, ".partial")], server(3, "1\t0/9000000\tx\n"), [segment(2, 5, ".partial")]),
        # Just at a boundary: nothing of the next segment is needed from the old timeline.
        ([segment(1, 4)], server(2, "1\t0/5000000\tx\n"), []),
    ],
)
def test_what_is_not_on_the_servers_way_is_put_aside(
    names: list[str], identity: Identity, stray: list[str]
) -> None:
    assert (
        sorted(off_the_way(Spool.of([*names, "00000002.history", "status.json", "aside"]), identity, SIZE))
        == stray
    )


def test_where_a_receiver_goes_on_is_the_newest_position() -> None:
    names = [segment(1, 4, ".partial"), segment(2, 4), segment(1, 3), segment(2, 3)]
    spool = Spool.of(names)
    assert spool.last == segment(2, 4)
    assert spool.removable([segment(1, 3), segment(2, 3), segment(2, 4)]) == (segment(1, 3), segment(2, 3))
    assert Spool.of([]).last is None


def test_a_server_that_went_back_in_time_on_its_own_timeline_is_seen() -> None:
    spool = Spool.of([segment(1, 4), segment(1, 5, ".partial")])
    assert not ahead_of(spool, server(1, flushed=5 * SIZE), SIZE)
    assert ahead_of(spool, server(1, flushed=5 * SIZE - 8), SIZE)
    assert not ahead_of(spool, server(2, FORK, flushed=0), SIZE)
    assert not ahead_of(Spool.of([]), server(1, flushed=0), SIZE)


def test_a_connection_is_read_as_libpq_reads_it() -> None:
    words = {"host": "/run/my dir", "user": "o'brien\\", "sslmode": "verify-full", "port": "5432"}
    assert parse_connection(connection_text(words)) == words
    assert parse_connection("host=db1  port = 5433 options=''") == {
        "host": "db1",
        "port": "5433",
        "options": "",
    }


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("host=db1 password=x", "connection-password"),
        ("sslpassword = 'a b'", "connection-password"),
        ("postgresql://u:p@db1/", "connection-malformed"),
        ("host='db1", "connection-malformed"),
        ("db1", "connection-malformed"),
    ],
)
def test_a_connection_with_a_password_is_refused(text: str, code: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_connection(text)
    assert caught.value.code == code
    assert "p@db1" not in str(caught.value) and "a b" not in str(caught.value)
