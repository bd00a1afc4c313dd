# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Copies that are killed or cut off in the middle of a file, and how fast they go: sftp and S3, from the outside."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.wishes_copies import read_copies
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies import sealing, stores
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.objects import Item
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.opening import open_store
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.operation import copy
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.s3 import PART_BYTES
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.stores import Throttle
from tests.integration.harness.cluster import Cluster
from tests.integration.harness.elsewhere import Elsewhere
from tests.integration.harness.objectstore import BUCKET, ObjectStore
from tests.integration.harness.sandbox import Sandbox
from tests.integration.harness.waiting import wait_for

MEGABYTE = 1 << 20
BIG = "dump.extra"


@pytest.fixture
def vault(sandbox: Sandbox) -> Iterator[ObjectStore]:
    """An S3 server."""
    place = ObjectStore(sandbox.root / "s3")
    yield place
    place.close()


@pytest.fixture
def box(sandbox: Sandbox) -> Iterator[Elsewhere]:
    """Another host whose sshd lets a key use file transfer, and nothing of ours is there."""
    place = Elsewhere(sandbox, "box")
    (place.root / "authorized_keys").write_text(f"restrict {(place.root / 'stranger.pub').read_text()}")
    place.start()
    yield place
    place.stop()


def sftp(box: Elsewhere, **more: Any) -> dict[str, Any]:
    """A copy's description."""
    ssh = {"identity_file": str(box.root / "stranger"), "known_hosts_file": str(box.known_hosts)}
    return {"to": f"sftp://{box.user}@127.0.0.1:{box.port}{box.root}/space", "ssh": ssh, **more}


def big_dump(cluster: Cluster, size: int) -> Path:
    """A dump that is so large: a real one, with a file of random bytes beside it. The file's path."""
    cluster.write_config(dumps=[{"label": "all", "database": "postgres"}])
    cluster.keeper("dump").expect(0)
    (entry,) = (cluster.repository / "main").glob("dump/postgres/*/dump.json")
    path = entry.with_name(BIG)
    path.write_bytes(os.urandom(size))
    return path


def dumps_listed(cluster: Cluster) -> int:
    """How many dumps the copy is said to hold."""
    (one,) = cluster.keeper("copy", "--list").expect(0)["copies"].values()
    return len(one["dumps"])


def test_sftp_killed_in_the_middle_of_a_file_and_cut_off_in_the_middle_of_the_rest(
    cluster: Cluster, box: Elsewhere
) -> None:
    size = 8 * MEGABYTE
    big = big_dump(cluster, size)
    cluster.write_config(copies={"box": sftp(box, max_rate_kbytes=2048)})
    cluster.keeper("copy", "--prepare").expect(0)
    there = box.root / "space" / "main"

    def arrived() -> int:
        return sum(path.stat().st_size for path in there.glob(f"dump/postgres/.copying-*/.copying-{BIG}"))

    running = cluster.keeper_start("copy")
    wait_for(lambda: arrived() > MEGABYTE, "some of the file to arrive")
    running.kill()
    assert not list(there.glob("dump/postgres/[!.]*")), "nothing half has a name there"
    assert dumps_listed(cluster) == 0
    before = arrived()
    assert MEGABYTE < before < size
    # Once more; its connection is cut, and the run goes on by itself where it was.
    running = cluster.keeper_start("copy")
    wait_for(lambda: arrived() > before + MEGABYTE, "more of the file to arrive")
    for pid in box.sessions():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)
    done = running.wait().expect(0)["copies"]["box"]["sent"]
    (copied,) = there.glob(f"dump/postgres/*/{BIG}")
    assert copied.read_bytes() == big.read_bytes()
    assert done["wire_bytes"] <= done["bytes"] - before + 3 * MEGABYTE, "what was there was not sent again"
    assert dumps_listed(cluster) == 1
    assert not list(there.rglob(".copying-*"))
    assert cluster.keeper("copy").expect(0)["changed"] is False


def test_what_lies_there_of_another_file_is_not_taken_for_a_beginning(
    cluster: Cluster, box: Elsewhere
) -> None:
    big = big_dump(cluster, MEGABYTE)
    cluster.write_config(copies={"box": sftp(box)})
    cluster.keeper("copy", "--prepare").expect(0)
    label = big.parent.name
    staged = box.root / "space" / "main" / "dump" / "postgres" / f".copying-{label}"
    staged.mkdir(parents=True)
    (staged / f".copying-{BIG}").write_bytes(os.urandom(MEGABYTE // 2))
    (staged / ".copying-globals.sql").write_bytes(b"x" * MEGABYTE)
    gone = box.root / "space" / "main" / "base" / ".copying-20200101T000000Z-full"
    gone.mkdir(parents=True)
    (gone / ".copying-base.tar.zst").write_bytes(b"of a backup that expired long ago")
    cluster.keeper("copy").expect(0)
    for path in big.parent.iterdir():
        assert (staged.with_name(label) / path.name).read_bytes() == path.read_bytes()
    assert not gone.exists(), "what nobody will ever finish is taken away"


@pytest.mark.matrix
def test_s3_killed_between_two_parts_goes_on_with_the_next_one_and_leaves_nothing_that_is_paid_for(
    cluster: Cluster, vault: ObjectStore
) -> None:
    size = 3 * PART_BYTES + 17
    big = big_dump(cluster, size)
    cluster.write_config(copies={"cloud": vault.wish(max_rate_kbytes=12288)})
    cluster.keeper("copy", "--prepare").expect(0)

    def parts() -> int:
        return sum(method == "PUT" and path.endswith(BIG) for method, path in vault.requests)

    running = cluster.keeper_start("copy")
    wait_for(lambda: parts() >= 2, "the second part to be on its way")
    running.kill()
    assert not [key for key in vault.objects() if key.endswith((BIG, "dump.json"))]
    assert dumps_listed(cluster) == 0
    (upload,) = vault.client.list_multipart_uploads(Bucket=BUCKET)["Uploads"]
    listed = vault.client.list_parts(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])
    have = len(listed.get("Parts", ()))
    assert have >= 1
    before = parts()
    cluster.write_config(copies={"cloud": vault.wish()})
    done = cluster.keeper("copy").expect(0)["copies"]["cloud"]["sent"]
    assert parts() - before == 4 - have, "only the parts that were not there"
    assert done["wire_bytes"] == done["bytes"] - have * PART_BYTES
    (key,) = [key for key in vault.objects() if key.endswith(BIG)]
    assert hashlib.sha256(vault.bytes_of(key)).digest() == hashlib.sha256(big.read_bytes()).digest()
    assert dumps_listed(cluster) == 1
    # Begun, and then expired here before it was finished: nobody pays for it for ever.
    vault.client.create_multipart_upload(Bucket=BUCKET, Key=f"pg/main/dump/postgres/gone/{BIG}")
    cluster.keeper("copy").expect(0)
    assert not vault.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads")


class Clock:
    """The real one; every wait is noted."""

    def __init__(self, waits: list[float]) -> None:
        self._waits = waits
        self.monotonic = time.monotonic

    def sleep(self, seconds: float) -> None:
        self._waits.append(seconds)
        time.sleep(seconds)


@pytest.mark.parametrize("kind", ["directory", "sftp", "s3"])
def test_no_more_than_so_much_a_second(
    request: pytest.FixtureRequest, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Measured by what the place has, not by what the sender says: never more than the limit and a little."""
    rate, size = 2048, 2 * MEGABYTE
    (sandbox.root / "disk").mkdir()
    wishes: dict[str, Callable[[], dict[str, Any]]] = {
        "directory": lambda: {"to": str(sandbox.root / "disk")},
        "sftp": lambda: sftp(request.getfixturevalue("box")),
        "s3": lambda: request.getfixturevalue("vault").wish(),
    }
    (wish,) = read_copies({"x": {**wishes[kind](), "max_rate_kbytes": rate}}, "test", None)
    path = sandbox.root / "file"
    path.write_bytes(os.urandom(size))
    seconds = {}
    waits: dict[int | None, list[float]] = {}
    for limit in (None, wish.max_rate_kbytes):
        store = open_store(wish, "main", str(sandbox.root))
        throttle = Throttle(limit)
        monkeypatch.setattr(stores, "time", Clock(waits.setdefault(limit, [])))
        began = time.monotonic()
        key = f"wal/1/{limit}"
        stored = store.put(key, sealing.Outgoing(Item(key, str(path), size, "", 0.0), throttle, None))
        seconds[limit] = time.monotonic() - began
        store.close()
        assert stored.digest == hashlib.sha256(path.read_bytes()).hexdigest()
        assert throttle.spent_bytes == size
    wanted = size / (rate * 1024)
    assert wanted * 0.98 <= seconds[rate]
    # A busy machine takes as long as it takes; without a limit nobody waits on purpose.
    assert not waits[None] and sum(waits[rate]) > 0


@pytest.mark.parametrize(
    "size",
    [
        pytest.param(1000, id="whole"),
        pytest.param(PART_BYTES + 1000, id="parts", marks=pytest.mark.matrix),
    ],
)
def test_the_store_is_told_its_class_and_its_encryption(
    vault: ObjectStore, sandbox: Sandbox, size: int
) -> None:
    more = {"storage_class": "STANDARD_IA", "server_side_encryption": "aws:kms:alias/pg"}
    (wish,) = read_copies({"cloud": vault.wish(**more)}, "test", None)
    path = sandbox.root / "file"
    path.write_bytes(os.urandom(size))
    store = open_store(wish, "main", str(sandbox.root))
    store.put("wal/x", sealing.Outgoing(Item("wal/x", str(path), size, "", 0.0), Throttle(None), None))
    store.close()
    begins = [
        said
        for method, path_there, said in vault.headers
        if path_there.endswith("wal/x") and method in ("PUT", "POST") and "storage-class" in said
    ]
    assert len(begins) == 1, "on the request that begins the object, and on no other"
    assert begins[0]["storage-class"] == "STANDARD_IA"
    assert begins[0]["server-side-encryption"] == "aws:kms"
    assert begins[0]["server-side-encryption-aws-kms-key-id"] == "alias/pg"
    kept = vault.client.head_object(Bucket=BUCKET, Key="pg/main/wal/x")
    assert (kept["StorageClass"], kept["ServerSideEncryption"]) == ("STANDARD_IA", "aws:kms")
    assert vault.bytes_of("pg/main/wal/x") == path.read_bytes()


def test_a_tool_or_a_library_that_is_not_here_is_named_before_anything_is_sent(
    cluster: Cluster, vault: ObjectStore, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.keeper("backup").expect(0)
    place = sandbox.root / "disk"
    place.mkdir()
    sealed = {"to": str(place), "encryption": {"tool": "age", "recipients": ["age1x"]}}
    cluster.write_config(copies={"disk": sealed, "cloud": vault.wish()})
    cluster.keeper("copy", "disk", "--prepare").expect(0)
    before = len(vault.requests)
    config = ClusterConfig.load(str(cluster.config_path))
    # As on a host without them.
    monkeypatch.setattr(sealing.shutil, "which", lambda *_given, **_named: None)
    monkeypatch.setitem(sys.modules, "boto3", None)
    errors = {name: one["error"] for name, one in copy(config)["copies"].items()}
    assert errors["disk"]["code"] == "copy-tool-missing" and "package age" in errors["disk"]["remedy"]
    assert errors["cloud"]["code"] == "library-missing" and "python3-boto3" in errors["cloud"]["remedy"]
    assert not (place / "main" / "base").exists() and len(vault.requests) == before
