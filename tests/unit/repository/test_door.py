# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The door of a repository without ssh around it: what a client says that no dbkeeper would say."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.locks import owner_alive
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.layout import Repository
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.remote.door import APPEND, Door
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.remote.doorlog import DoorLog
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.remote.frames import Pipes

SYSTEM = "7400000000000000001"
#: Half of a character: JSON can say it, UTF-8 cannot.
HALF = "\ud800"
BEGAN = {
    "format": 1,
    "label": "new",
    "status": "running",
    "started_at": "2026-11-22T08:00:00.000000Z",
    "system_id": SYSTEM,
    "major": 15,
    "wal_segment_size": 1 << 24,
    "start_lsn": None,
    "stop_lsn": None,
    "stopped_at": None,
    "tablespaces": [],
    "files": [],
}
ENDED = {"timeline": 1, "start_lsn": "0/2000028", "stop_lsn": "0/2000100"}
ENDED["stopped_at"] = "2026-11-22T08:01:00.000000Z"
LEASE = {"id": "mine", "purpose": "restore", "label": "good", "system_id": SYSTEM, "keep": True}
LEASE |= {"first_segment": "000000010000000000000002", "owner": {"host": "db1", "pid": 7}}


class Client:
    """A conversation with a door in another thread; what it says comes back as it is."""

    def __init__(self, repository: Repository, name: str = "db1") -> None:
        self.there, self._mine = os.pipe()
        self._back, answers = os.pipe()
        log = DoorLog(repository.path, key=name)
        door = Door(repository, APPEND, name, Pipes(self.there, answers, stall_seconds=60), log)

        def serve() -> None:
            try:
                door.serve()
            finally:
                os.close(answers)

        self._thread = threading.Thread(target=serve, daemon=True)
        self._thread.start()
        assert self.ask({"door": 1, "cluster": "main"})["ok"]

    def send(self, kind: bytes, content: bytes) -> None:
        os.write(self._mine, struct.pack(">cI", kind, len(content)) + content)

    def ask(self, value: Any) -> dict[str, Any]:
        """A request and its answer; empty when it has hung up."""
        self.send(b"J", json.dumps(value).encode())
        return self.answer()

    def put(self, request: dict[str, Any], content: bytes, **end: Any) -> dict[str, Any]:
        """A request with a file."""
        self.send(b"J", json.dumps(request).encode())
        self.send(b"D", content)
        self.send(b"E", json.dumps(end or {"digest": hashlib.sha256(content).hexdigest()}).encode())
        return self.answer()

    def answer(self) -> dict[str, Any]:
        head = os.read(self._back, 5)
        if not head:
            return {}
        length = struct.unpack(">cI", head)[1]
        content = b""
        while len(content) < length:
            content += os.read(self._back, length - len(content))
        value = json.loads(content)
        assert isinstance(value, dict)
        return value

    def close(self) -> None:
        os.close(self._mine)
        self._thread.join(240)
        os.close(self._back)
        os.close(self.there)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(str(tmp_path), "main")
    made.create()
    return made


@pytest.fixture
def connect(repository: Repository) -> Iterator[Callable[[], Client]]:
    """More conversations than one; all are over afterwards."""
    made: list[Client] = []

    def connected() -> Client:
        made.append(Client(repository))
        return made[-1]

    yield connected
    for one in made:
        one.close()


def code(answer: dict[str, Any]) -> str:
    assert answer.get("ok") is False, answer
    return str(answer["error"]["code"])


def log(repository: Repository) -> list[str]:
    return Path(repository.path, "door.log").read_text().splitlines()


def below(repository: Repository, name: str) -> list[str]:
    """Paths of all files and directories."""
    top = Path(repository.path, name)
    return sorted(str(path.relative_to(top)) for path in top.rglob("*"))


def history(client: Client, name: str, content: bytes, system: str = SYSTEM) -> dict[str, Any]:
    return client.put({"verb": "wal-put", "system_id": system, "name": name}, content)


def test_no_name_takes_all_numbers_of_timelines_away(
    repository: Repository, connect: Callable[[], Client]
) -> None:
    """A number that is there is never handed out again: with the last one there no restore could promote (D13)."""
    assert history(connect(), "00000002.history", b"1\t0/3000000\tx\n")["outcome"] == "archived"
    there = [path for path in below(repository, "wal") if not path.endswith(".push.lock")]
    for name in ("FFFFFFFE.history", "FFFFFFFF0000000000000001", "00000103.history"):
        assert code(history(connect(), name, b"1\t0/3000000\tx\n")) == "door-refused"
        assert "far beyond" in log(repository)[-1]
    # What is no history is none, and what was refused has left no directory either.
    for content in (b"garbage", b"\xff\xfe", b"3\t0/3000000\tx\n", b"# nothing\n"):
        assert code(history(connect(), "00000002.history", content)) == "history-damaged"
        assert code(history(connect(), "00000003.history", content, "42")) == "history-damaged"
    client = connect()
    take = {"verb": "timeline-take", "system_id": SYSTEM, "timeline": 3, "holder": "x"}
    assert client.ask(take)["taken"] is True
    assert [path for path in below(repository, "wal") if not path.endswith(".push.lock")] == there
    # As far as copies of an archive with expired timelines need.
    assert history(connect(), "00000101.history", b"2\t0/4000000\tx\n")["outcome"] == "archived"


@pytest.mark.parametrize(
    "odd",
    [
        {"timeline": "x"},
        {"timeline": 1 << 70},
        {"plain_bytes": "many"},
        {"stored_bytes": -5},
        {"stored_bytes": True},
        {"settings": [1]},
        {"settings": {"max_connections": "100\nEND\ntouch /stolen"}},
        {"settings": {"databases": 7}},
        {"settings": {"databases": [{"name": "a", "libraries": 7}]}},
        {"settings": {"databases": [{"name": "a", "collations": [{"name": "b"}]}]}},
        {"page_faults": 5},
        {"unsound": 7},
        {"kind": "other"},
        {"parent": HALF},
        {"tablespaces": [{"oid": "x", "path": "/a"}]},
        {"tablespaces": [{"oid": 5, "path": "a"}]},
        {"tablespaces": [{"oid": 5, "path": "/a\0"}]},
        {"files": [{"name": "base.tar.zst", "stored_bytes": 3, "digest": "../x"}]},
        {"seconds": []},
        {"owner": {"host": HALF}},
        {"manifest": 7},
        {"wal_segment_size": 3},
        {"system_id": 0},
        {"started_at": "yesterday"},
        {"surprise": 1},
    ],
)
def test_what_no_dbkeeper_writes_does_not_come_into_the_catalog(
    repository: Repository, connect: Callable[[], Client], odd: dict[str, Any]
) -> None:
    """Who lists, plans or expires on the repository's host would stumble over it."""
    client = connect()
    assert (
        code(client.ask({"verb": "backup-begin", "label": "new", "entry": {**BEGAN, **odd}}))
        == "door-refused"
    )
    assert "REFUSED" in log(repository)[-1]
    assert below(repository, "base") == []
    # The conversation goes on.
    assert client.ask({"verb": "backup-begin", "label": "new", "entry": BEGAN})["ok"]


@pytest.mark.parametrize("missing", sorted(ENDED))
def test_a_finished_backup_says_where_it_began_and_ended(
    repository: Repository, connect: Callable[[], Client], missing: str
) -> None:
    client = connect()
    assert client.ask({"verb": "backup-begin", "label": "new", "entry": BEGAN})["ok"]
    files = []
    for name, content in (("base.tar.zst", b"abc"), ("backup_manifest", b"{}")):
        sha = hashlib.sha256(content).hexdigest()
        put = {"verb": "backup-put", "label": "new", "name": name}
        assert client.put(put, content, bytes=len(content), digest=sha)["ok"]
        files.append({"name": name, "stored_bytes": len(content), "digest": sha})
    entry = {**BEGAN, **ENDED, "status": "verified", "files": files}
    finish = {"verb": "backup-finish", "label": "new"}
    assert code(client.ask({**finish, "entry": {**entry, missing: None}})) == "door-refused"
    assert client.ask({**finish, "entry": {**entry, "unsound": {"code": "x"}, "pinned": True}})["ok"]
    kept = json.loads(Path(repository.backup("new"), "backup.json").read_text())
    # What decides about it is not the client's to say.
    assert kept["unsound"] is None and kept["pinned"] is False and kept["owner"]["door"] == "db1"


@pytest.mark.parametrize(
    "odd",
    [
        {"first_segment": 7},
        {"first_segment": "../x"},
        {"label": [1]},
        {"system_id": {"a": 1}},
        {"keep": "x"},
        {"purpose": HALF},
        {"owner": {"host": "db1", "pid": "7"}},
    ],
)
def test_a_lease_that_nobody_can_read_is_not_taken(
    repository: Repository, connect: Callable[[], Client], odd: dict[str, Any]
) -> None:
    client = connect()
    assert code(client.ask({"verb": "lease-take", "id": "mine", "lease": {**LEASE, **odd}})) == "door-refused"
    assert below(repository, "leases") == []
    assert client.ask({"verb": "lease-take", "id": "mine", "lease": LEASE})["ok"]


def test_evidence_that_cannot_be_written_is_refused_and_the_conversation_goes_on(
    repository: Repository, connect: Callable[[], Client]
) -> None:
    client = connect()
    deep: Any = []
    for _level in range(100):
        deep = [deep]
    for record in ({"x": HALF}, {HALF: 1}, {"x": deep}):
        assert code(client.ask({"verb": "evidence-put", "id": "one", "record": record})) == "door-refused"
    assert client.ask({"verb": "evidence-put", "id": "one", "record": {"x": "é"}})["ok"]
    assert below(repository, "evidence") == ["one.json"]


def test_an_error_that_nobody_thought_of_is_told_and_logged_like_the_rest(
    repository: Repository, connect: Callable[[], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Repository, system_id: int) -> list[str]:
        raise ZeroDivisionError(f"{system_id} of {self.path}")

    monkeypatch.setattr(Repository, "conflicts", broken)
    client = connect()
    answer = client.ask({"verb": "conflicts", "system_id": "1"})
    assert code(answer) == "door-refused" and "ZeroDivisionError" in answer["error"]["happened"]
    assert repository.path not in json.dumps(answer)
    assert "REFUSED" in log(repository)[-1] and "ZeroDivisionError" in log(repository)[-1]
    assert client.ask({"verb": "space"})["ok"]


def test_noise_is_written_down_as_it_was(repository: Repository, connect: Callable[[], Client]) -> None:
    client = connect()
    client.send(b"?", b"GET / HTTP")
    assert client.answer() == {}
    assert "noise='?\\x00\\x00\\x00\\n'" in log(repository)[-1]
    # Python's own reader takes it, no other does.
    client = connect()
    client.send(b"J", b'{"verb": "space", "x": NaN}')
    assert client.answer() == {} and "NaN is no number" in log(repository)[-1]


def test_a_file_that_ends_in_the_middle_is_no_refused_request(
    repository: Repository, connect: Callable[[], Client]
) -> None:
    client = connect()
    put = {"verb": "wal-put", "system_id": SYSTEM, "name": "00000002.history"}
    client.send(b"J", json.dumps(put).encode())
    client.send(b"J", b"{}")
    assert client.answer() == {}
    assert "REFUSED broken" in log(repository)[-1] and "a piece of a file was due" in log(repository)[-1]
    assert below(repository, "wal") == []


def test_a_dump_whose_entry_is_lost_is_not_removed(
    repository: Repository, connect: Callable[[], Client]
) -> None:
    data = Path(repository.path, "dump", "app", "old", "dump.custom")
    data.parent.mkdir(parents=True)
    data.write_text("rows")
    entry = {
        "format_version": 1,
        "database": "app",
        "label": "old",
        "series": "daily",
        "sequence": 0,
        "status": "running",
        "started_at": "2026-11-22T08:00:00.000000Z",
        "stopped_at": None,
        "format": "custom",
        "selection": {},
        "system_id": SYSTEM,
        "files": [],
        "warnings": [],
    }
    begin = {"verb": "dump-begin", "database": "app", "label": "old", "entry": entry}
    client = connect()
    assert code(client.ask(begin)) == "dump-entry-damaged"
    assert data.read_text() == "rows"
    entry["label"] = "new"
    assert client.ask({**begin, "label": "new"})["ok"]


def test_two_who_tell_another_story_of_one_restore_are_both_kept(
    repository: Repository, connect: Callable[[], Client]
) -> None:
    """Who looks whether the name is free, and who writes, are one at a time: none replaces the other's."""
    clients = [connect() for _number in range(8)]
    for number, client in enumerate(clients):
        request = {"verb": "evidence-put", "id": "one", "record": {"told by": number}}
        client.send(b"J", json.dumps(request).encode())
    paths = {client.answer()["path"] for client in clients}
    told = {json.loads(Path(path).read_text())["told by"] for path in paths}
    assert len(paths) == 8 and told == set(range(8))


def test_an_owner_that_nobody_can_look_for_is_believed_to_live() -> None:
    assert owner_alive({"host": os.uname().nodename, "pid": "7"}) is True
    assert owner_alive({"host": os.uname().nodename, "pid": 0}) is False
