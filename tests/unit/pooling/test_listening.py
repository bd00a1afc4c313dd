# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Whether a pooler listens: the kernel's list is not one moment's, so one look that misses it is not enough."""

from __future__ import annotations

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.pooling import execute
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.pooling.process import Process

from .requests import database, request

MISSED = Process(4711, "1", 0, (), frozenset())
SEEN = Process(4711, "1", 0, (), frozenset({6432}))


def test_a_look_that_misses_the_port_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [None, MISSED, SEEN]
    monkeypatch.setattr(execute, "find", lambda _config_file: looks.pop(0))
    assert execute._listens(request([database("app")]), MISSED)
    assert looks == []


def test_a_pooler_that_stays_silent_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "find", lambda _config_file: MISSED)
    monkeypatch.setattr(execute, "_LISTENING_SECONDS", 0.05)
    assert not execute._listens(request([database("app")]), MISSED)
