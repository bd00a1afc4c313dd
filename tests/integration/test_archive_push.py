# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Archive push against real segments: what is stored, what is refused, and what a kill leaves."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import (
    Failed,
    KeeperError,
    Refused,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.archive import (
    STEPS,
    conflicts,
    control_system_id,
    push,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.layout import Repository
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.source import NativeWalSource

from .harness.damage import plain
from .harness.digest import listing
from .harness.disk import SmallDisk
from .harness.installation import a_major_a_day, default_installation, installations
from .harness.sandbox import Sandbox
from .harness.waiting import wait_for
from .stored import ENGINE, Wal, engine_process, make_repository, make_wal

PUSH = f"""
import os, signal, sys
from {ENGINE}.core.errors import KeeperError
from {ENGINE}.repository.archive import push
from {ENGINE}.repository.layout import Repository
root, path, system_id, stop = sys.argv[1:]
def watch(step):
    if step == stop:
        os.kill(os.getpid(), signal.SIGKILL)
try:
    print(push(Repository(root, "main"), path, system_id=int(system_id), watch=watch)["outcome"])
except KeeperError as error:
    print(error.code, error.happened)
    sys.exit(1)
"""


@pytest.fixture(scope="module")
def wal() -> Iterator[Wal]:
    sandbox = Sandbox()
    yield make_wal(sandbox, default_installation())
    sandbox.close()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return make_repository(tmp_path / "repository")


def stored(repository: Repository, wal: Wal, name: str) -> Path:
    return Path(repository.timeline(wal.system_id, 1)) / f"{name}.zst"


def refused(repository: Repository, path: Path, **options: Any) -> KeeperError:
    """The error of a push, and proof that it left the repository's files as they were."""
    before = listing(repository.path)
    with pytest.raises(KeeperError) as caught:
        push(repository, str(path), **options)
    after = listing(repository.path)
    new = {name for name in after if name not in before and not name.endswith(".push.lock")}
    assert {name: after[name] for name in before if after[name] != before[name]} == {}
    assert {name for name in new if not os.path.isdir(os.path.join(repository.path, name))} == set()
    return caught.value


@pytest.mark.parametrize("segment_mb", [1, 16])
@pytest.mark.parametrize("major", a_major_a_day())
def test_segments_of_every_major_come_back_as_they_were(
    sandbox: Sandbox, tmp_path: Path, major: int, segment_mb: int
) -> None:
    wal = make_wal(sandbox, installations()[major], segment_mb=segment_mb, count=3)
    repository = make_repository(tmp_path / "repository")
    source = NativeWalSource(repository, wal.system_id)
    for position, path in enumerate(wal.segments):
        result = push(repository, str(path), system_id=wal.system_id, segment_size=wal.segment_bytes)
        assert (result["outcome"], result["digest"]) == ("archived", wal.digest(position))
        assert result["plain_bytes"] == wal.segment_bytes
        assert result["stored_bytes"] == Path(result["path"]).stat().st_size < wal.segment_bytes
        assert source.fetch(path.name, str(tmp_path / "out")) == wal.digest(position)
        assert (tmp_path / "out").read_bytes() == path.read_bytes()
    listed = list(source.list_files())
    assert [file.name for file in listed] == [path.name for path in wal.segments]
    assert all(file.stored_bytes == Path(file.location).stat().st_size for file in listed)


def test_a_real_server_archives_through_it(sandbox: Sandbox, wal: Wal) -> None:
    """The system identifier comes from the data directory in whose pg_wal the file lies."""
    data = sandbox.root / "data"
    (data / "pg_wal").mkdir(parents=True)
    (data / "global").mkdir()
    (data / "global" / "pg_control").write_bytes(wal.system_id.to_bytes(8, "little") + bytes(100))
    shutil.copy(wal.segments[0], data / "pg_wal")
    repository = make_repository(sandbox.root / "repository")
    assert control_system_id(str(data)) == wal.system_id
    assert push(repository, str(data / "pg_wal" / wal.segments[0].name))["outcome"] == "archived"
    (data / "global" / "pg_control").write_bytes(b"123")
    assert refused(repository, data / "pg_wal" / wal.segments[0].name).code == "control-file-unreadable"


def test_the_same_again_is_success_and_changes_nothing(repository: Repository, wal: Wal) -> None:
    push(repository, str(wal.segments[0]), system_id=wal.system_id)
    before = listing(repository.path)
    again = push(repository, str(wal.segments[0]), system_id=wal.system_id)
    assert (again["outcome"], again["digest"]) == ("identical", wal.digest(0))
    assert listing(repository.path) == before


def test_other_content_is_a_failure_and_both_are_kept(
    repository: Repository, wal: Wal, tmp_path: Path
) -> None:
    name = wal.segments[0].name
    push(repository, str(wal.segments[0]), system_id=wal.system_id)
    archived = stored(repository, wal, name)
    first = archived.read_bytes()
    other = tmp_path / name
    other.write_bytes(wal.segments[0].read_bytes()[:-1] + b"x")
    for _dummy in range(2):  # the server tries again; the second copy is kept once
        with pytest.raises(Failed) as caught:
            push(repository, str(other), system_id=wal.system_id)
        assert caught.value.code == "archive-conflict"
        assert "other content" in caught.value.happened and "nothing was overwritten" in caught.value.happened
        assert archived.read_bytes() == first
        (kept,) = conflicts(repository, wal.system_id)
        assert caught.value.details["kept"] == kept
        assert plain(Path(kept)) == other.read_bytes()
    source = NativeWalSource(repository, wal.system_id)
    assert [file.name for file in source.list_files()] == [name]
    assert push(repository, str(wal.segments[0]), system_id=wal.system_id)["outcome"] == "identical"


def test_an_archived_segment_that_is_damaged_is_not_overwritten(repository: Repository, wal: Wal) -> None:
    push(repository, str(wal.segments[0]), system_id=wal.system_id)
    archived = stored(repository, wal, wal.segments[0].name)
    damaged = archived.read_bytes()[:1000]
    archived.write_bytes(damaged)
    with pytest.raises(Failed) as caught:
        push(repository, str(wal.segments[0]), system_id=wal.system_id)
    assert caught.value.code == "archive-conflict" and "is damaged" in caught.value.happened
    assert archived.read_bytes() == damaged
    archived.unlink()
    assert push(repository, str(wal.segments[0]), system_id=wal.system_id)["outcome"] == "archived"


def test_histories_are_never_overwritten(repository: Repository, wal: Wal, tmp_path: Path) -> None:
    history = tmp_path / "00000002.history"
    history.write_text("1\t0/3000000\tno recovery target specified\n")
    assert push(repository, str(history), system_id=wal.system_id)["outcome"] == "archived"
    assert push(repository, str(history), system_id=wal.system_id)["outcome"] == "identical"
    history.write_text("1\t0/4000000\tno recovery target specified\n")
    with pytest.raises(Failed) as caught:
        push(repository, str(history), system_id=wal.system_id)
    assert caught.value.code == "archive-conflict"
    source = NativeWalSource(repository, wal.system_id)
    assert source.read_history(2) == "1\t0/3000000\tno recovery target specified\n"
    assert source.read_history(3) is None
    assert [file.name for file in source.list_files()] == ["00000002.history"]


def test_partial_segments_and_backup_labels(repository: Repository, wal: Wal, tmp_path: Path) -> None:
    name = wal.segments[1].name
    partial, label = tmp_path / f"{name}.partial", tmp_path / f"{name}.00000028.backup"
    shutil.copy(wal.segments[1], partial)
    label.write_text("START WAL LOCATION: 0/2000028\n")
    for path in (wal.segments[1], partial, label):
        assert push(repository, str(path), system_id=wal.system_id)["outcome"] == "archived"
    source = NativeWalSource(repository, wal.system_id)
    assert sorted(file.name for file in source.list_files()) == sorted([label.name, partial.name, name])
    for path in (partial, label):
        source.fetch(path.name, str(tmp_path / "out"))
        assert (tmp_path / "out").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda content, other: bytes(len(content)), "segment-zero-filled"),
        (lambda content, other: other, "segment-wrong-content"),
        (lambda content, other: content[:-8192], "segment-wrong-size"),
        (lambda content, other: content + bytes(8192), "segment-wrong-size"),
        (lambda content, other: b"", "segment-wrong-size"),
        (lambda content, other: content[:20], "segment-wrong-size"),
        (lambda content, other: b"\x7fELF" * (len(content) // 4), "segment-corrupt"),
    ],
)
def test_what_is_no_such_segment_is_refused(
    repository: Repository, wal: Wal, tmp_path: Path, change: Any, code: str
) -> None:
    path = tmp_path / wal.segments[0].name
    path.write_bytes(change(wal.segments[0].read_bytes(), wal.segments[1].read_bytes()))
    error = refused(repository, path, system_id=wal.system_id)
    assert (error.code, type(error)) == (code, Refused)
    assert "Nothing was archived" in error.remedy


def test_a_segment_of_another_system_is_refused(repository: Repository, wal: Wal) -> None:
    error = refused(repository, wal.segments[0], system_id=wal.system_id + 1)
    assert error.code == "segment-wrong-system"
    assert str(wal.system_id) in error.happened and str(wal.system_id + 1) in error.happened


def test_a_segment_of_another_size_than_the_clusters_is_refused(repository: Repository, wal: Wal) -> None:
    error = refused(repository, wal.segments[0], system_id=wal.system_id, segment_size=16 << 20)
    assert error.code == "segment-wrong-size"


@pytest.mark.parametrize(
    "name", ["x", "00000001000000000000000", "postmaster.pid", "000000010000000000000001.gz", "1.history"]
)
def test_names_that_postgresql_does_not_archive(
    repository: Repository, wal: Wal, tmp_path: Path, name: str
) -> None:
    shutil.copy(wal.segments[0], tmp_path / name)
    error = refused(repository, tmp_path / name, system_id=wal.system_id)
    assert error.code in ("wal-name-unknown", "segment-wrong-size")


def test_a_file_that_is_not_there(repository: Repository, wal: Wal, tmp_path: Path) -> None:
    error = refused(repository, tmp_path / wal.segments[0].name, system_id=wal.system_id)
    assert error.code == "wal-file-missing"


def test_an_unmounted_repository_is_not_filled(tmp_path: Path, wal: Wal) -> None:
    (tmp_path / "empty").mkdir()
    repository = Repository(str(tmp_path / "empty"), "main")
    with pytest.raises(Refused) as caught:
        push(repository, str(wal.segments[0]), system_id=wal.system_id)
    assert caught.value.code == "repository-missing"
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.parametrize("below", ["wal", "timeline"])
def test_a_repository_that_may_not_be_written(repository: Repository, wal: Wal, below: str) -> None:
    place = Path(repository.path) / "wal"
    if below == "timeline":
        push(repository, str(wal.segments[0]), system_id=wal.system_id)
        place = Path(repository.timeline(wal.system_id, 1))
    place.chmod(0o500)
    try:
        error = refused(repository, wal.segments[1], system_id=wal.system_id)
    finally:
        place.chmod(0o700)
    assert error.code == "repository-not-writable"
    assert "stays on the server" in error.remedy
    assert push(repository, str(wal.segments[1]), system_id=wal.system_id)["outcome"] == "archived"


def test_a_really_full_repository(sandbox: Sandbox, wal: Wal) -> None:
    disk = SmallDisk(sandbox.root / "disk", 4)
    try:
        repository = make_repository(disk.view)
        ballast = disk.fill(leave_bytes=40_000)

        def run(path: Path) -> tuple[int, str]:
            process = engine_process(PUSH, disk.mountpoint, path, wal.system_id, "", enter=disk.enter)
            out, err = process.communicate(timeout=240)
            assert err == ""
            return process.returncode, out

        status, words = run(wal.segments[0])
        assert status == 1 and words.startswith("repository-full ")
        assert "No space left on device" in words
        directory = Path(repository.timeline(wal.system_id, 1))
        assert not directory.exists() or list(directory.iterdir()) == []
        ballast.unlink()
        assert run(wal.segments[0]) == (0, "archived\n")
        assert plain(directory / f"{wal.segments[0].name}.zst") == wal.segments[0].read_bytes()
    finally:
        disk.close()


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("history", [False, True])
def test_kill_at_every_step_and_push_again(
    repository: Repository, wal: Wal, tmp_path: Path, step: str, history: bool
) -> None:
    path = wal.segments[0]
    if history:
        path = tmp_path / "00000002.history"
        path.write_text("1\t0/3000000\tno recovery target specified\n")
    killed = engine_process(PUSH, repository.root, path, wal.system_id, step)
    killed.communicate(timeout=240)
    assert killed.returncode == -signal.SIGKILL
    source = NativeWalSource(repository, wal.system_id)
    # Before the link there is no such name for anybody; after it the whole file is there.
    there = STEPS.index(step) > STEPS.index("link")
    assert [file.name for file in source.list_files()] == ([path.name] if there else [])
    again = engine_process(PUSH, repository.root, path, wal.system_id, "")
    out, err = again.communicate(timeout=240)
    assert (again.returncode, out, err) == (0, "identical\n" if there else "archived\n", "")
    assert source.fetch(path.name, str(tmp_path / "out")) == hashlib.sha256(path.read_bytes()).hexdigest()
    left = [
        name
        for _dummy, _dummy, names in os.walk(repository.path)
        for name in names
        if name.startswith(".tmp-")
    ]
    assert left == []


def test_the_steps_are_all_that_a_push_tells(repository: Repository, wal: Wal) -> None:
    told: list[str] = []
    push(repository, str(wal.segments[0]), system_id=wal.system_id, watch=told.append)
    assert tuple(told) == STEPS


def slow_zstd(place: Path) -> dict[str, str]:
    """A PATH on which zstd writes a little and then hangs."""
    place.mkdir()
    program = place / "zstd"
    program.write_text(f"#!/bin/sh\nprintf 'some bytes'\ntouch {place}/begun\nexec sleep 600\n")
    program.chmod(0o755)
    return {"PATH": f"{place}:{os.environ['PATH']}"}


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGKILL]
)
def test_a_signal_in_the_middle_of_writing(
    repository: Repository, wal: Wal, sandbox: Sandbox, number: signal.Signals
) -> None:
    """A status above 125 or a death by signal would restart the archiver; only SIGKILL leaves no choice."""
    path = wal.segments[0]
    environment = slow_zstd(sandbox.root / "slow")
    process = engine_process(PUSH, repository.root, path, wal.system_id, "", environment=environment)
    wait_for((sandbox.root / "slow" / "begun").exists, "zstd begun")
    directory = Path(repository.timeline(wal.system_id, 1))
    wait_for(lambda: listening(process.pid), "signals minded")
    process.send_signal(number)
    out, err = process.communicate(timeout=240)
    if number == signal.SIGKILL:
        assert process.returncode == -number
        assert [one.name for one in directory.iterdir()] == [f".tmp-{path.name}.zst"]
        os.killpg(process.pid, signal.SIGKILL)
    else:
        assert (process.returncode, err) == (1, "")
        assert out.startswith("interrupted ")
        assert list(directory.iterdir()) == []
    assert push(repository, str(path), system_id=wal.system_id)["outcome"] == "archived"
    assert [one.name for one in directory.iterdir()] == [f"{path.name}.zst"]


def listening(pid: int) -> bool:
    """Whether the process has a handler for SIGTERM (proc(5): SigCgt)."""
    text = Path(f"/proc/{pid}/status").read_text()
    caught = int(text.partition("SigCgt:")[2].split()[0], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def test_a_host_without_zstd(repository: Repository, wal: Wal, tmp_path: Path) -> None:
    process = engine_process(
        PUSH, repository.root, wal.segments[0], wal.system_id, "", environment={"PATH": str(tmp_path)}
    )
    out, _dummy = process.communicate(timeout=240)
    assert process.returncode == 1 and out.startswith("program-missing zstd cannot be started")
    assert list(Path(repository.timeline(wal.system_id, 1)).iterdir()) == []


def test_a_zstd_that_fails_stores_nothing(repository: Repository, wal: Wal, tmp_path: Path) -> None:
    program = tmp_path / "zstd"
    program.write_text("#!/bin/sh\nprintf half\necho 'zstd: something broke' >&2\nexit 1\n")
    program.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    process = engine_process(
        PUSH, repository.root, wal.segments[0], wal.system_id, "", environment=environment
    )
    out, _dummy = process.communicate(timeout=240)
    assert process.returncode == 1 and out == "repository-not-writable zstd: something broke\n"
    assert list(Path(repository.timeline(wal.system_id, 1)).iterdir()) == []


def test_two_at_once(repository: Repository, wal: Wal, tmp_path: Path) -> None:
    """The same content twice: one archives, the other finds it; other content under the name: one must lose."""
    name = wal.segments[2].name
    other = tmp_path / name
    other.write_bytes(wal.segments[2].read_bytes()[:-1] + b"x")
    pushes = [
        engine_process(PUSH, repository.root, path, wal.system_id, "")
        for path in (wal.segments[2], wal.segments[2], other)
    ]
    said = sorted(process.communicate(timeout=240)[0].split()[0] for process in pushes)
    assert said in (
        ["archive-conflict", "archived", "identical"],
        ["archive-conflict", "archive-conflict", "archived"],
    )
    kept = {hashlib.sha256(plain(Path(path))).hexdigest() for path in conflicts(repository, wal.system_id)}
    archived = hashlib.sha256(plain(stored(repository, wal, name))).hexdigest()
    assert kept | {archived} == {wal.digest(2), hashlib.sha256(other.read_bytes()).hexdigest()}
