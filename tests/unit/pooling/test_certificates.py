# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What is said of the certificates that poolers show, and how listening sockets are read from the kernel's table."""

from __future__ import annotations

import socket
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.pooling.certificates import (
    Door,
    judge,
    listeners,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.x509 import Certificate

NOW = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)


def ending(days: float, port: int = 6432) -> Door:
    end = NOW + timedelta(days=days)
    return Door(port, True, Certificate("pool1", "authority", ("pool1",), end - timedelta(days=365), end))


@pytest.mark.parametrize(
    ("doors", "state", "words", "japanese"),
    [
        ([ending(200)], "ok", "port 6432: pool1 until 2027-06-09 12:00 UTC, in 200 days", "あと 200 日"),
        ([ending(29)], "warning", "in 29 days: run the role pgbouncer", "pgbouncer ロール"),
        ([ending(6)], "failed", "in 6 days: run the role pgbouncer", "あと 6 日"),
        ([ending(-1)], "failed", "which has passed: run the role pgbouncer", "過ぎています"),
        ([ending(400)], "failed", "see whether this host's clock is right", "時計"),
        (
            [Door(6432, False)],
            "ok",
            "port 6432: TLS is off, and the pooler listens on loopback",
            "TLS は無効",
        ),
        ([Door(6432, True)], "warning", "set pgbouncer_tls", "pgbouncer_tls"),
        ([Door(6432, True, error="timed out")], "warning", "timed out", "timed out"),
        # The worst of several, and every one of them.
        ([ending(200, 6432), ending(5, 6433)], "failed", "; port 6433: pool1 until", "ポート 6433"),
    ],
)
def test_what_is_said(doors: list[Door], state: str, words: str, japanese: str) -> None:
    (said,) = judge(doors, NOW)
    assert (said["name"], said["state"]) == ("pooler-certificate", state)
    assert words in said["text"] and japanese in said["text_ja"]


def test_nothing_is_said_where_there_is_no_pooler() -> None:
    assert judge([], NOW) == []


@pytest.mark.parametrize(
    ("family", "address", "table"),
    [
        (socket.AF_INET, "127.0.0.1", "tcp"),
        (socket.AF_INET6, "::1", "tcp6"),
        (socket.AF_INET, "0.0.0.0", "tcp"),
    ],
)
def test_the_kernel_s_table(family: socket.AddressFamily, address: str, table: str) -> None:
    """Held against a socket whose address is known from elsewhere."""
    with socket.socket(family) as listening, socket.socket(family) as closed:
        try:
            listening.bind((address, 0))
        except OSError:
            pytest.skip(f"this machine has no {address}")
        closed.bind((address, 0))
        listening.listen()
        port = listening.getsockname()[1]
        found = {
            one.port: one for one in listeners(Path("/proc/self/net", table).read_text(encoding="ascii"))
        }
        assert closed.getsockname()[1] not in found
        own = found[port]
        assert (own.address, own.inode) == (address, str(socket_inode(listening)))
        with socket.create_connection((own.reached_at, port), timeout=60):
            pass


def socket_inode(one: socket.socket) -> int:
    return Path(f"/proc/self/fd/{one.fileno()}").stat().st_ino
