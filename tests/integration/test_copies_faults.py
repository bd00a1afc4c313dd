# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What an object store does wrong: tried again with pauses where it may pass, and never told as success.

Faults F01 to F08.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.wishes_copies import read_copies
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.objects import Item
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.s3 import PART_BYTES, S3Store
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.sealing import Outgoing
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.stores import Patience, Throttle
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import KeeperError
from tests.integration.harness.cluster import Cluster
from tests.integration.harness.objectstore import BUCKET, ObjectStore
from tests.integration.harness.sandbox import Sandbox
from tests.integration.harness.waiting import wait_for

#: As patient as in life, in a hundredth of the time.
QUICK = Patience(tries=5, first_seconds=0.005, longest_seconds=0.05, silence_seconds=2.0)
#: In one request, and in parts (the latter with the long sweeps).
SIZES = (
    pytest.param(1000, id="whole"),
    pytest.param(PART_BYTES + 1000, id="parts", marks=pytest.mark.matrix),
)
KEY = "wal/7/00000001/000000010000000000000001.zst"


@pytest.fixture
def vault(sandbox: Sandbox) -> Iterator[ObjectStore]:
    """An S3 server."""
    place = ObjectStore(sandbox.root / "s3")
    yield place
    place.close()


@pytest.fixture
def send(vault: ObjectStore, sandbox: Sandbox) -> Callable[..., Any]:
    """Store so many random bytes under KEY, as a run does."""

    def put(size: int, patience: Patience = QUICK, **wish: Any) -> Any:
        path = sandbox.root / "file"
        if not path.exists() or path.stat().st_size != size:
            path.write_bytes(os.urandom(size))
        (described,) = read_copies({"cloud": vault.wish(**wish)}, "test", None)
        store = S3Store(described, "main", patience)
        try:
            return store.put(KEY, Outgoing(Item(KEY, str(path), size, "", 0.0), Throttle(None), None))
        finally:
            store.close()

    return put


@pytest.fixture
def opened(vault: ObjectStore) -> Iterator[S3Store]:
    """As a run has it."""
    (described,) = read_copies({"cloud": vault.wish()}, "test", None)
    store = S3Store(described, "main", QUICK)
    yield store
    store.close()


def stored(vault: ObjectStore) -> bytes | None:
    """What lies there now, if anything."""
    key = f"pg/main/{KEY}"
    return vault.bytes_of(key) if key in vault.objects() else None


@pytest.mark.parametrize("what", ["500", "503", "timeout", "bad-digest", "cut"])
@pytest.mark.parametrize("size", SIZES)
def test_what_passes_is_tried_again(
    vault: ObjectStore, send: Callable[..., Any], sandbox: Sandbox, what: str, size: int
) -> None:
    # An answer to HEAD has no body, and so no code.
    methods = ("PUT", "HEAD") if what in ("500", "503") else ("PUT",)
    vault.fault = lambda method, path, number: what if method in methods and number <= 2 else None
    done = send(size)
    assert done.digest == hashlib.sha256((sandbox.root / "file").read_bytes()).hexdigest()
    assert stored(vault) == (sandbox.root / "file").read_bytes()
    assert sum(method == "PUT" for method, _path in vault.requests) >= 3


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("500", "copy-unreachable"),
        ("503", "copy-unreachable"),
        ("timeout", "copy-unreachable"),
        ("denied", "copy-denied"),
        ("no-bucket", "copy-bucket-missing"),
        ("full", "copy-full"),
        ("cut", "copy-unreachable"),
        ("truncate", "copy-digest-wrong"),
        ("flip", "copy-digest-wrong"),
    ],
)
@pytest.mark.parametrize("size", SIZES)
def test_what_stays_is_an_error_and_nothing_is_left_that_looks_good(
    vault: ObjectStore, send: Callable[..., Any], what: str, code: str, size: int
) -> None:
    vault.fault = lambda method, path, number: what if method == "PUT" else None
    with pytest.raises(KeeperError) as caught:
        send(size)
    assert caught.value.code == code
    assert stored(vault) is None
    puts = sum(method == "PUT" for method, path in vault.requests if path.endswith(".zst"))
    if code in ("copy-denied", "copy-bucket-missing", "copy-full"):
        assert puts == 1, "what does not pass is not tried again"
    else:
        assert puts >= 3


@pytest.mark.parametrize("what", ["truncate", "flip"])
@pytest.mark.parametrize("size", [1000, PART_BYTES + 1000], ids=["whole", "parts"])
def test_damage_on_the_way_is_seen_and_mended(
    vault: ObjectStore, send: Callable[..., Any], sandbox: Sandbox, what: str, size: int
) -> None:
    """The store says 200 and keeps something else, once."""
    vault.fault = lambda method, path, number: what if method == "PUT" and number == 1 else None
    send(size)
    assert stored(vault) == (sandbox.root / "file").read_bytes()


def test_a_store_that_says_nothing_is_waited_for_so_long_and_not_longer(
    vault: ObjectStore, send: Callable[..., Any], sandbox: Sandbox
) -> None:
    """It takes the bytes and never answers: once, and for good."""
    vault.fault = lambda method, path, number: "silent" if method == "PUT" and number == 1 else None
    done = send(1000)
    assert done.digest == hashlib.sha256(stored(vault) or b"").hexdigest()
    vault.client.delete_object(Bucket=BUCKET, Key=f"pg/main/{KEY}")
    vault.fault = lambda method, path, number: "silent" if method == "PUT" else None
    with pytest.raises(KeeperError) as caught:
        send(1000, patience=replace(QUICK, tries=2, silence_seconds=0.2))
    assert (caught.value.code, caught.value.details["tries"]) == ("copy-unreachable", 2)
    assert stored(vault) is None


@pytest.mark.parametrize(("what", "code"), [("500", None), ("cut", None), ("denied", "copy-denied")])
def test_a_list_is_whole_or_an_error(
    vault: ObjectStore, send: Callable[..., Any], opened: S3Store, what: str, code: str | None
) -> None:
    """What is taken for missing would be sent again, or be forgotten."""
    send(1000)
    begun = len(vault.requests)

    def fault(method: str, path: str, number: int) -> str | None:
        return what if len(vault.requests) - begun <= 2 or code else None

    vault.fault = fault
    if code is None:
        assert opened.names("wal") == {KEY: 1000}
        assert len(vault.requests) - begun == 3
        vault.fault = lambda method, path, number: what
        code = "copy-unreachable"
    with pytest.raises(KeeperError) as caught:
        opened.names("wal")
    assert caught.value.code == code


@pytest.mark.parametrize(("what", "code"), [("500", "copy-unreachable"), ("denied", "copy-denied")])
def test_what_cannot_be_deleted_is_told_and_what_passes_is_tried_again(
    vault: ObjectStore, send: Callable[..., Any], opened: S3Store, what: str, code: str
) -> None:
    send(1000)
    vault.fault = lambda method, path, number: what if method == "DELETE" else None
    with pytest.raises(KeeperError) as caught:
        opened.delete(KEY)
    assert caught.value.code == code and stored(vault) is not None
    vault.fault = lambda method, path, number: "500" if method == "DELETE" and number <= 2 else None
    vault._counts.clear()
    opened.delete(KEY)
    assert stored(vault) is None


def test_parts_that_are_there_are_not_sent_again(
    vault: ObjectStore, send: Callable[..., Any], sandbox: Sandbox
) -> None:
    size = 3 * PART_BYTES + 5
    seen = 0

    def third_part_fails(method: str, path: str, number: int) -> str | None:
        nonlocal seen
        seen += method == "PUT"
        return "denied" if method == "PUT" and seen == 3 else None

    vault.fault = third_part_fails
    with pytest.raises(KeeperError):
        send(size)
    vault.fault = None
    before = len(vault.requests)
    send(size)
    again = [method for method, _path in vault.requests[before:]]
    assert again.count("PUT") == 2, "the third part and the last one"
    assert stored(vault) == (sandbox.root / "file").read_bytes()


def test_reading_goes_on_where_it_broke_off(
    vault: ObjectStore, send: Callable[..., Any], sandbox: Sandbox
) -> None:
    send(3_000_000)
    (described,) = read_copies({"cloud": vault.wish()}, "test", None)
    vault.fault = lambda method, path, number: "cut" if method == "GET" and number == 1 else None
    before = len(vault.requests)
    store = S3Store(described, "main", QUICK)
    found = store.look(KEY)
    store.close()
    assert found is not None
    assert [method for method, _path in vault.requests[before:]] == ["GET", "GET"]
    assert found.digest == hashlib.sha256((sandbox.root / "file").read_bytes()).hexdigest()


def test_nobody_listens_and_a_certificate_of_somebody_else(
    vault: ObjectStore, send: Callable[..., Any], sandbox: Sandbox
) -> None:
    with pytest.raises(KeeperError) as caught:
        send(10, endpoint="https://127.0.0.1:1")
    assert caught.value.code == "copy-unreachable"
    with pytest.raises(KeeperError) as caught:
        send(10, ca_file=None)
    assert caught.value.code == "copy-unreachable"
    assert "CERTIFICATE_VERIFY_FAILED" in caught.value.happened
    assert not [path for method, path in vault.requests if path.endswith(".zst")]


def test_credentials_that_others_can_read_are_refused(vault: ObjectStore, send: Callable[..., Any]) -> None:
    vault.credentials_file.chmod(0o644)
    with pytest.raises(KeeperError) as caught:
        send(10)
    assert caught.value.code == "copy-credentials-exposed"
    vault.credentials_file.chmod(0o600)
    vault.credentials_file.write_text("aws_secret_access_key = very-secret-indeed")
    with pytest.raises(KeeperError) as caught:
        send(10)
    assert caught.value.code == "copy-credentials-unreadable"
    assert "very-secret-indeed" not in str(caught.value.to_dict())


def test_a_bucket_that_is_gone_is_told_by_the_command_and_stays_in_the_status(
    cluster: Cluster, vault: ObjectStore
) -> None:
    cluster.keeper("backup").expect(0)
    cluster.write_config(copies={"cloud": vault.wish()})
    cluster.keeper("copy", "--prepare").expect(0)
    cluster.keeper("copy").expect(0)
    for key in vault.objects():
        vault.client.delete_object(Bucket=BUCKET, Key=key)
    assert cluster.keeper("copy").expect(3)["copies"]["cloud"]["error"]["code"] == "copy-missing"
    vault.client.delete_bucket(Bucket=BUCKET)
    answer = cluster.keeper("copy").expect(3)["copies"]["cloud"]
    assert answer["error"]["code"] == "copy-bucket-missing"
    listed = cluster.keeper("copy", "--list").expect(0)["copies"]["cloud"]["status"]
    assert listed["failures"] == 2 and listed["failure"]["code"] == "copy-bucket-missing"
    vault.client.create_bucket(Bucket=BUCKET)


def test_of_two_places_one_denies_and_may_lag_for_so_long(
    cluster: Cluster, vault: ObjectStore, sandbox: Sandbox
) -> None:
    """The other one gets everything; the check says which is behind, and fails when it is too far."""
    cluster.keeper("backup").expect(0)
    place = sandbox.root / "disk"
    place.mkdir()

    def describe(lag_seconds: int) -> None:
        cluster.write_config(
            copies={"cloud": vault.wish(lag_seconds=lag_seconds), "disk": {"to": str(place)}}
        )

    def checked() -> tuple[str, str]:
        (found,) = (item for item in cluster.keeper("check").data["checks"] if item["name"] == "copies")
        return found["state"], found["text"]

    describe(86400)
    cluster.keeper("copy", "--prepare").expect(0)
    vault.fault = lambda method, path, number: "denied" if method == "PUT" else None
    answer = cluster.keeper("copy").expect(3)["copies"]
    assert answer["cloud"]["error"]["code"] == "copy-denied"
    assert answer["disk"]["error"] is None and answer["disk"]["sent"]["objects"] > 3
    state, text = checked()
    assert state == "warning" and "cloud" in text and "copy-denied" in text
    describe(1)
    wait_for(lambda: checked()[0] == "failed", "the alarm")
    vault.fault = None
    again = cluster.keeper("copy").expect(0)["copies"]
    assert again["cloud"]["sent"]["objects"] > 3 and again["disk"]["changed"] is False
    assert checked()[0] == "ok"


def test_damage_in_a_copy_is_found_and_sent_again(cluster: Cluster, sandbox: Sandbox) -> None:
    cluster.keeper("backup").expect(0)
    place = sandbox.root / "disk"
    place.mkdir()
    cluster.write_config(copies={"disk": {"to": str(place)}})
    cluster.keeper("copy", "--prepare").expect(0)
    cluster.keeper("copy").expect(0)
    (victim,) = place.glob("main/base/*/base.tar.zst")
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    beside = sandbox.root / "beside"
    cluster.keeper("copy", "disk", "--back", str(beside)).refused("copy-object-damaged", status=3)
    assert not list(beside.glob("main/base/[!.]*")), "nothing is listed that is broken"
    assert cluster.keeper("copy").expect(0)["changed"] is False
    assert cluster.keeper("copy", "--check-all").expect(0)["copies"]["disk"]["sent"]["objects"] == 1
    assert victim.read_bytes() == whole
    victim.unlink()
    cluster.keeper("copy", "disk", "--back", str(sandbox.root / "third")).refused(
        "copy-object-missing", status=3
    )
    assert cluster.keeper("copy").expect(0)["copies"]["disk"]["sent"]["objects"] == 1


def test_what_is_damaged_in_the_repository_does_not_get_over_a_good_copy(
    cluster: Cluster, sandbox: Sandbox
) -> None:
    first = cluster.keeper("backup").expect(0)["backup"]["label"]
    place = sandbox.root / "disk"
    place.mkdir()
    cluster.write_config(copies={"disk": {"to": str(place)}})
    cluster.keeper("copy", "--prepare").expect(0)
    cluster.keeper("copy").expect(0)
    good = (place / "main" / "base" / first / "base.tar.zst").read_bytes()
    ours: Path = cluster.repository / "main" / "base" / first / "base.tar.zst"
    segment = next(iter(sorted((cluster.repository / "main").glob("wal/*/*/*.zst"))))
    rot = segment.read_bytes()
    segment.write_bytes(rot[:-1] + bytes([rot[-1] ^ 1]))
    ours.write_bytes(b"rot")
    second = cluster.keeper("backup", "--kind", "full").expect(0)["backup"]["label"]
    (cluster.repository / "main" / "base" / second / "base.tar.zst").write_bytes(b"rot")
    answer = cluster.keeper("copy").expect(3)["copies"]["disk"]
    codes = {one["code"] for one in answer["failures"]}
    assert codes == {"copy-conflict", "copy-source-damaged"}
    assert (place / "main" / "base" / first / "base.tar.zst").read_bytes() == good
    assert not (place / "main" / "base" / second).exists(), "the broken one is not listed"
    assert rot in [path.read_bytes() for path in place.glob(f"main/wal/*/*/{segment.name}")]
    # Its entry as well, and the file is gone: no expiry, and told; what is new is copied all the same.
    entry = cluster.repository / "main" / "base" / second / "backup.json"
    entry.write_text("rot")
    (entry.parent / "base.tar.zst").unlink()
    name = cluster.archive_all()
    answer = cluster.keeper("copy").expect(3)["copies"]["disk"]
    assert f"base/{second}" in {one["details"]["key"] for one in answer["failures"]}
    assert list(place.glob(f"main/wal/*/*/{name}.zst")) and not (place / "main" / "base" / second).exists()


def test_f01_the_place_of_another_cluster_is_refused(cluster: Cluster, sandbox: Sandbox) -> None:
    place = sandbox.root / "disk"
    place.mkdir()
    cluster.write_config(copies={"disk": {"to": str(place)}})
    cluster.keeper("copy", "--prepare").expect(0)
    marker = place / "main" / "copy.json"
    marker.write_text(marker.read_text().replace('"main"', '"other"'))
    assert cluster.keeper("copy").expect(3)["copies"]["disk"]["error"]["code"] == "copy-stranger"
    assert not (place / "main" / "wal").exists()


def test_f06_a_damaged_list_is_told_and_looked_at_again_when_it_is_removed(
    cluster: Cluster, sandbox: Sandbox
) -> None:
    cluster.keeper("backup").expect(0)
    place = sandbox.root / "disk"
    place.mkdir()
    cluster.write_config(copies={"disk": {"to": str(place)}})
    cluster.keeper("copy", "--prepare").expect(0)
    cluster.keeper("copy").expect(0)
    (sheet,) = place.glob("main/sheets/base/*.json")
    sheet.write_text("{")
    assert cluster.keeper("copy").expect(3)["copies"]["disk"]["error"]["code"] == "copy-sheet-damaged"
    sheet.unlink()
    again = cluster.keeper("copy").expect(0)["copies"]["disk"]["sent"]
    assert (again["adopted"], again["objects"]) == (3, 0)
    sheet.write_text(sheet.read_text().replace("base/", "../../", 1))
    assert cluster.keeper("copy").expect(3)["copies"]["disk"]["error"]["code"] == "copy-sheet-damaged"


def test_f07_a_public_key_that_is_none_is_refused_before_anything_is_sent(
    cluster: Cluster, sandbox: Sandbox
) -> None:
    place = sandbox.root / "disk"
    place.mkdir()
    broken = {"tool": "age", "recipients": ["age1thisisnokey"]}
    cluster.write_config(copies={"disk": {"to": str(place), "encryption": broken}})
    cluster.keeper("copy", "--prepare").expect(0)
    assert cluster.keeper("copy").expect(3)["copies"]["disk"]["error"]["code"] == "copy-key-unusable"
    assert not (place / "main" / "wal").exists()


def test_f08_nothing_for_the_target_and_no_room(cluster: Cluster, sandbox: Sandbox) -> None:
    cluster.keeper("backup").expect(0)
    place = sandbox.root / "disk"
    place.mkdir()
    cluster.write_config(copies={"disk": {"to": str(place)}})
    cluster.keeper("copy", "--prepare").expect(0)
    cluster.keeper("copy").expect(0)
    back = ("disk", "--back", str(sandbox.root / "back"))
    cluster.keeper("copy", *back, "--target-time", "2001-01-01 00:00:00Z").refused("copy-nothing")
    (sheet,) = place.glob("main/sheets/base/*.json")
    value = json.loads(sheet.read_text())
    for one in value["objects"].values():
        one["plain_bytes"] = 1 << 60
    sheet.write_text(json.dumps(value))
    cluster.keeper("copy", *back).refused("copy-no-room")
    assert not (sandbox.root / "back").exists()
