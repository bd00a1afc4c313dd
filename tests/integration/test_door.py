# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Bad clients at the door of a repository elsewhere: whatever they try with a key in hand, what is stored stays."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.harness.cluster import Cluster
from tests.integration.harness.elsewhere import Elsewhere
from tests.integration.harness.sandbox import Sandbox
from tests.integration.harness.waiting import wait_for

HELLO = {"door": 1, "cluster": "main"}
BASH = "/bin/bash"


class Client:
    """Somebody with a key who speaks the door's frames by himself."""

    def __init__(self, vault: Elsewhere, key: str = "append", hello: dict[str, Any] | None = None) -> None:
        self.process = subprocess.Popen(
            vault.ssh(key, "-T"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        self.hello = self.ask(hello or HELLO)

    def send(self, kind: bytes, content: bytes) -> None:
        """A frame."""
        assert self.process.stdin
        try:
            self.process.stdin.write(struct.pack(">cI", kind, len(content)) + content)
        except BrokenPipeError:
            # It has hung up; what it said is still to be read.
            return

    def say(self, value: Any, kind: bytes = b"J") -> None:
        """JSON."""
        self.send(kind, json.dumps(value).encode())

    def hear(self) -> tuple[bytes, bytes] | None:
        """The next frame; None when it has hung up."""
        assert self.process.stdout
        head = self._read(5)
        if len(head) < 5:
            return None
        kind, length = struct.unpack(">cI", head)
        return kind, self._read(length)

    def _read(self, length: int) -> bytes:
        assert self.process.stdout
        found = b""
        while len(found) < length and (part := self.process.stdout.read(length - len(found))):
            found += part
        return found

    def answer(self) -> dict[str, Any]:
        """The next answer; empty when it has hung up."""
        frame = self.hear()
        value = json.loads(frame[1]) if frame else {}
        assert isinstance(value, dict)
        return value

    def ask(self, value: Any) -> dict[str, Any]:
        """A request and its answer."""
        self.say(value)
        return self.answer()

    def put(
        self, request: dict[str, Any], *pieces: bytes, end: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """A request with the pieces of a file."""
        self.say(request)
        for piece in pieces:
            self.send(b"D", piece)
        self.say(end or {}, b"E")
        return self.answer()

    def close(self) -> None:
        """Hang up."""
        self.process.kill()
        self.process.communicate()


def code(answer: dict[str, Any]) -> str:
    """Of a refusal."""
    assert answer.get("ok") is False, answer
    for part in ("attempted", "happened", "remedy"):
        assert answer["error"][part].strip()
    return str(answer["error"]["code"])


def fingerprint(vault: Elsewhere) -> dict[str, str]:
    """Every stored file with its content, but for the log and the locks."""
    found = {}
    for parent, _below, names in os.walk(vault.archive):
        for name in names:
            if name not in ("door.log", ".push.lock", "backup.lock"):
                with contextlib.suppress(FileNotFoundError):
                    found[f"{parent}/{name}"] = hashlib.sha256(Path(parent, name).read_bytes()).hexdigest()
    return found


@pytest.fixture(scope="module")
def vault() -> Iterator[Elsewhere]:
    """A host that keeps a backup, WAL, a history, evidence and leases of a cluster that is stopped."""
    place = Sandbox()
    made = Elsewhere(place).start()
    cluster = Cluster(place, elsewhere=made).start()
    cluster.keeper("backup", "--label", "good").expect(0)
    cluster.switch_wal()
    cluster.archive_all()
    cluster.stop()
    [system_id] = [path.name for path in (made.archive / "wal").iterdir()]
    (made.archive / "wal" / system_id / "00000002.history").write_text("1\t0/5000000\tno recovery target\n")
    (made.archive / "evidence" / "old.json").write_text("{}\n")
    lease = {"id": "theirs", "purpose": "restore", "label": "good", "system_id": system_id}
    lease |= {"first_segment": None, "keep": True, "owner": {"host": "vault"}}
    (made.archive / "leases" / "theirs.json").write_text(json.dumps(lease))
    yield made
    made.stop()
    place.close()


@pytest.fixture
def client(vault: Elsewhere) -> Iterator[Client]:
    """With the key that may append."""
    made = Client(vault)
    assert made.hello["ok"] and made.hello["access"] == "append"
    yield made
    made.close()


@pytest.fixture
def same(vault: Elsewhere) -> Iterator[None]:
    """After the test everything is as it was before."""
    before = fingerprint(vault)
    yield
    # The door of a client that has hung up may still be tidying up.
    wait_for(lambda: fingerprint(vault) == before, "everything as it was before")


def system_of(vault: Elsewhere) -> str:
    return next((vault.archive / "wal").iterdir()).name


def segment_of(vault: Elsewhere) -> Path:
    return sorted((vault.archive / "wal" / system_of(vault)).rglob("*.zst"))[0]


def backup_entry(vault: Elsewhere, label: str) -> dict[str, Any]:
    entry = json.loads((vault.archive / "base" / "good" / "backup.json").read_text())
    assert isinstance(entry, dict)
    return {**entry, "label": label, "status": "running", "files": []}


TRAVERSALS = [
    "../x",
    "..",
    "/etc/passwd",
    "a/b",
    "good/../good",
    "",
    ".hidden",
    "a" * 300,
    "$(id)",
    "a;id",
    "a\nb",
    "a\0b",
]


@pytest.mark.parametrize("name", [*TRAVERSALS, "a\nb", "a\0b", None, 7, ["x"], {"a": 1}])
def test_no_name_leads_out_of_the_repository(client: Client, vault: Elsewhere, same: None, name: Any) -> None:
    """E03."""
    system_id = system_of(vault)
    requests = [
        {"verb": "wal-get", "system_id": system_id, "name": name},
        {"verb": "wal-get", "system_id": name, "name": "000000010000000000000001"},
        {"verb": "wal-list", "system_id": name},
        {"verb": "backup-files", "label": name},
        {"verb": "backup-get", "label": name, "name": "base.tar.zst"},
        {"verb": "backup-get", "label": "good", "name": name},
        {"verb": "document", "kind": "base", "name": name},
        {"verb": "document", "kind": name, "name": "good"},
        {"verb": "list", "kind": name},
        {"verb": "lease-take", "id": name, "lease": {}},
        {"verb": "lease-release", "id": name},
        {"verb": "evidence-put", "id": name, "record": {}},
        {"verb": "backup-begin", "label": name, "entry": {}},
        {"verb": "backup-fail", "label": name},
    ]
    for request in requests:
        assert code(client.ask(request)) == "door-refused", request
    assert "REFUSED" in vault.log().splitlines()[-1]


@pytest.mark.parametrize(
    "verb", ["delete", "wal-delete", "rename", "shell", "", None, 3, "WAL-PUT", "x" * 5000]
)
def test_other_verbs_end_the_conversation(client: Client, vault: Elsewhere, same: None, verb: Any) -> None:
    assert code(client.ask({"verb": verb, "name": "good"})) == "door-refused"
    assert client.answer() == {}
    assert "there is no verb" in vault.log().splitlines()[-1]


def test_what_is_stored_cannot_be_overwritten(vault: Elsewhere, same: None) -> None:
    system_id, segment = system_of(vault), segment_of(vault)
    name = segment.name[: -len(".zst")]
    other = (vault.archive / "wal" / system_id / "00000001" / segment.name).read_bytes()
    plain = subprocess.run(["zstd", "-dcq", str(segment)], check=True, capture_output=True).stdout
    changed = plain[:-1] + bytes([plain[-1] ^ 1])
    packed = subprocess.run(["zstd", "-cq"], input=changed, check=True, capture_output=True).stdout

    def put(request: dict[str, Any], *pieces: bytes, **end: Any) -> dict[str, Any]:
        client = Client(vault)
        try:
            return client.put({"verb": "wal-put", "system_id": system_id, **request}, *pieces, end=end)
        finally:
            client.close()

    # The same again is no change, other bytes under the name are kept aside.
    digest = hashlib.sha256(plain).hexdigest()
    assert put({"name": name}, other, digest=digest)["outcome"] == "identical"
    assert code(put({"name": name}, packed, digest=hashlib.sha256(changed).hexdigest())) == "archive-conflict"
    (aside,) = segment.parent.glob(".conflict-*")
    aside.unlink()
    history = b"1\t0/3000000\tanother story\n"
    assert (
        code(put({"name": "00000002.history"}, history, digest=hashlib.sha256(history).hexdigest()))
        == "archive-conflict"
    )
    (aside,) = segment.parent.parent.glob(".conflict-*")
    aside.unlink()

    # What is not what its name says is not taken at all.
    beyond = f"{name[:16]}000000FF"
    assert code(put({"name": beyond}, other, digest=digest)) == "segment-wrong-content"
    assert code(put({"name": beyond, "system_id": "42"}, other, digest=digest)) != "archived"
    assert code(put({"name": beyond}, b"garbage", digest=digest)) == "segment-corrupt"
    assert code(put({"name": beyond}, b"", digest=digest)) == "segment-corrupt"
    zeros = subprocess.run(["zstd", "-cq"], input=bytes(16 << 20), check=True, capture_output=True).stdout
    sha = hashlib.sha256(bytes(16 << 20)).hexdigest()
    assert code(put({"name": beyond}, zeros, digest=sha)) == "segment-zero-filled"
    assert code(put({"name": name + ".zst"}, other, digest=digest)) == "door-refused"


def test_finished_backups_are_not_changed(client: Client, vault: Elsewhere, same: None) -> None:
    begin = {"verb": "backup-begin", "label": "good", "entry": backup_entry(vault, "good")}
    assert code(client.ask(begin)) == "label-taken"
    assert code(client.ask({"verb": "backup-fail", "label": "good", "why": "x"})) == "label-taken"
    finish = {"verb": "backup-finish", "label": "good", "entry": backup_entry(vault, "good")}
    assert code(client.ask(finish)) == "door-refused"
    assert (
        code(client.put({"verb": "backup-put", "label": "good", "name": "base.tar.zst"}, b"x"))
        == "door-refused"
    )


def test_leases_and_evidence_of_others_stay(client: Client, vault: Elsewhere, same: None) -> None:
    lease = json.loads((vault.archive / "leases" / "theirs.json").read_text())
    assert code(client.ask({"verb": "lease-release", "id": "theirs"})) == "lease-of-another"
    assert code(client.ask({"verb": "lease-take", "id": "theirs", "lease": lease})) == "lease-of-another"
    own = {**lease, "id": "own"}
    reader = Client(vault, "read")
    assert client.ask({"verb": "lease-take", "id": "own", "lease": own})["ok"]
    assert code(reader.ask({"verb": "lease-release", "id": "own"})) == "lease-of-another"
    assert client.ask({"verb": "lease-release", "id": "own"})["ok"]
    reader.close()
    assert client.ask({"verb": "evidence-put", "id": "old", "record": {"changed": True}})["ok"]
    (vault.archive / "evidence" / "old-2.json").unlink()
    huge = {"verb": "timeline-take", "system_id": system_of(vault), "timeline": 0xFFFFFFFF, "holder": "x"}
    assert code(client.ask(huge)) == "door-refused"


def test_the_key_that_reads_adds_nothing(vault: Elsewhere, same: None) -> None:
    segment = segment_of(vault)
    requests = [
        {"verb": "wal-put", "system_id": system_of(vault), "name": segment.name[:24]},
        {"verb": "backup-begin", "label": "new", "entry": backup_entry(vault, "new")},
        {"verb": "backup-put", "label": "new", "name": "base.tar.zst"},
        {"verb": "backup-finish", "label": "new", "entry": {}},
        {"verb": "backup-fail", "label": "new"},
    ]
    for request in requests:
        reader = Client(vault, "read")
        assert code(reader.ask(request)) == "door-refused"
        reader.close()


def test_garbage_is_heard_once_and_logged(vault: Elsewhere, same: None) -> None:
    for noise in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0" * 100,
        struct.pack(">cI", b"J", 1 << 31),
        b"J\0\0\0\x02[]",
        b"D\0\0\0\0",
    ):
        done = subprocess.run(
            vault.ssh("append", "-T"), check=False, input=noise, capture_output=True, timeout=240
        )
        assert done.returncode != 0 and done.stdout == b""
        assert "REFUSED broken" in vault.log().splitlines()[-1]
    deep = Client(vault)
    deep.send(b"J", b"[" * 100000)
    assert deep.answer() == {}
    deep.close()
    for hello, expected in (
        ({"door": 2, "cluster": "main"}, "door-version"),
        ({"door": 1, "cluster": "../x"}, "door-refused"),
    ):
        stranger = Client(vault, hello=hello)
        assert code(stranger.hello) == expected
        stranger.close()


def test_no_shell_no_copy_no_forwarding_no_terminal(vault: Elsewhere, sandbox: Sandbox, same: None) -> None:
    target = sandbox.root / "stolen"
    marker = sandbox.root / "marker"

    def attempt(*argv: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(argv, check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=240)

    for command in (
        f"touch {marker}",
        f"{BASH} -c 'touch {marker}'",
        f"; touch {marker}",
        f"$(touch {marker})",
    ):
        assert attempt(*vault.ssh("append", command=(command,))).returncode != 0
        assert "REFUSED command" in vault.log().splitlines()[-1] and "touch" in vault.log().splitlines()[-1]
    common = ["-P", str(vault.port), "-i", str(vault.root / "append"), "-o", "BatchMode=yes"]
    common += ["-F", "none", "-o", f"UserKnownHostsFile={vault.known_hosts}"]
    there = f"{vault.user}@127.0.0.1:{vault.archive}/repository.json"
    assert attempt("scp", *common, there, str(target)).returncode != 0
    assert attempt("scp", "-O", *common, there, str(target)).returncode != 0
    assert attempt("sftp", *common, there, str(target)).returncode != 0
    shell = " ".join(vault.ssh("append")[:-1])
    assert attempt("rsync", "-e", shell, there, str(target)).returncode != 0
    assert attempt("rsync", "-e", shell, "--delete", "-r", f"{sandbox.root}/", there).returncode != 0
    terminal = attempt(*vault.ssh("append", "-tt"))
    assert b"PTY allocation request failed" in terminal.stderr
    port = sandbox.ports.take()
    forward = attempt(
        *vault.ssh("append", "-o", "ExitOnForwardFailure=yes", "-R", f"{port}:127.0.0.1:{vault.port}")
    )
    assert forward.returncode != 0
    assert not target.exists() and not marker.exists()


@pytest.mark.parametrize(
    "words", [("--access", "all"), ("--root", "relative"), ("--shell", "x"), ("--access",)]
)
def test_a_door_that_is_set_up_wrongly_stays_shut(
    vault: Elsewhere, same: None, words: tuple[str, ...]
) -> None:
    given = {"--root": str(vault.repository), "--cluster": "main", "--access": "read"}
    argv = [word for option, value in given.items() if option != words[0] for word in (option, value)]
    done = subprocess.run(
        [vault.command, "door", *argv, *words], check=False, capture_output=True, timeout=240
    )
    assert done.returncode == 2 and done.stdout == b"" and done.stderr.startswith(b"door: ")


def test_a_stranger_does_not_come_in(vault: Elsewhere, same: None) -> None:
    done = subprocess.run(
        vault.ssh("stranger", "-T"), check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=240
    )
    assert done.returncode == 255 and b"Permission denied" in done.stderr


def test_two_backups_at_once_and_one_that_is_cut(vault: Elsewhere, same: None) -> None:
    first, second = Client(vault), Client(vault)
    assert first.ask({"verb": "backup-begin", "label": "one", "entry": backup_entry(vault, "one")})["ok"]
    begin = {"verb": "backup-begin", "label": "two", "entry": backup_entry(vault, "two")}
    assert code(second.ask(begin)) == "busy"
    assert code(second.ask({"verb": "backup-fail", "label": "one", "why": "mine"})) == "busy"
    put = {"verb": "backup-put", "label": "one", "name": "base.tar.zst"}
    assert first.put(put, b"abc", end={"bytes": 3, "digest": hashlib.sha256(b"abc").hexdigest()})["ok"]
    assert (
        code(first.ask({"verb": "backup-finish", "label": "one", "entry": backup_entry(vault, "one")}))
        == "door-refused"
    )
    first.close()
    # Its door sees the end, removes what came and says so; then the next one may begin.
    entry = vault.archive / "base" / "one" / "backup.json"
    wait_for(
        lambda: json.loads(entry.read_text())["status"] == "failed", "the end of the backup that was cut"
    )
    assert [path.name for path in entry.parent.iterdir()] == ["backup.json"]
    wait_for(lambda: second.ask(begin).get("ok") is True, "the lock of the backup that was cut")
    second.close()
    other = vault.archive / "base" / "two" / "backup.json"
    wait_for(lambda: json.loads(other.read_text())["status"] == "failed", "the end of the other one")
    for path in (entry, other):
        shutil.rmtree(path.parent)


def test_a_client_that_dies_in_a_push_leaves_only_what_the_next_one_removes(
    vault: Elsewhere, same: None
) -> None:
    system_id, segment = system_of(vault), segment_of(vault)
    client = Client(vault)
    name = segment.name[:24]
    client.say({"verb": "wal-put", "system_id": system_id, "name": name})
    client.send(b"D", b"half of it")
    wait_for(lambda: list(segment.parent.glob(".tmp-door-*")), "the temporary file")
    (temporary,) = segment.parent.glob(".tmp-door-*")
    os.kill(int(temporary.name.split("-")[2]), 9)
    client.close()
    assert temporary.exists()
    plain = subprocess.run(["zstd", "-dcq", str(segment)], check=True, capture_output=True).stdout
    again = Client(vault)
    end = {"digest": hashlib.sha256(plain).hexdigest()}
    put = {"verb": "wal-put", "system_id": system_id, "name": name}
    assert again.put(put, segment.read_bytes(), end=end)["outcome"] == "identical"
    again.close()
    assert not temporary.exists()
