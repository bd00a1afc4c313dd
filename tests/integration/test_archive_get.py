# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""archive-get on real segments: exact bytes, proven ends, 255 for all else, and a prefetcher that may die."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.archive import push
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.get import (
    archive_get,
    restore_command,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.prefetch import (
    Prefetcher,
    stop_prefetcher,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.source import NativeWalSource
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.spool import load_plan

from .get_help import COUNT, World
from .harness import damage
from .harness.installation import default_installation
from .harness.sandbox import Sandbox
from .harness.waiting import wait_for
from .stored import ENGINE, Wal, engine_process, make_wal

GET = f"""
import sys, time
from {ENGINE}.repository.get import archive_get
from {ENGINE}.repository.layout import Repository
from {ENGINE}.repository.source import NativeWalSource
class Slow(NativeWalSource):
    '''Every fetch is a round trip of so many seconds, and tells when it began and ended.'''
    def fetch(self, name, target_path, kind):
        begun = time.time()
        time.sleep(delay)
        digest = super().fetch(name, target_path, kind)
        with open(log, "a") as handle:
            print(name, begun, time.time(), file=handle)
        return digest
plan, root, system_id, delay, log, *asked = sys.argv[1:]
delay = float(delay)
source = Slow(Repository(root, "main"), int(system_id))
for name in asked:
    status = archive_get(plan, name, "TARGET/" + name, source=source)
    if status:
        sys.exit(status)
"""


@pytest.fixture(scope="module")
def wal() -> Iterator[Wal]:
    sandbox = Sandbox()
    yield make_wal(sandbox, default_installation(), count=COUNT)
    sandbox.close()


@pytest.fixture
def world(sandbox: Sandbox, wal: Wal) -> Iterator[World]:
    world = World(sandbox.root, wal)
    yield world
    stop_prefetcher(world.spool)


def test_every_planned_segment_in_order_and_again(world: World) -> None:
    for position in range(COUNT - 1):
        world.delivers(position)
    world.delivers(3)
    world.delivers(2)
    assert world.ask(world.names[-1]) == 1  # archived, and not part of the plan: proven end
    assert not (world.spool_path / "fault.json").exists()


def test_segments_wait_ready_before_they_are_asked_for(world: World) -> None:
    world.delivers(0)
    ready = world.spool_path / "ready"
    wait_for(lambda: sorted(os.listdir(ready)) == world.names[1:5], "four segments ready")
    for position in range(1, 5):
        assert (ready / world.names[position]).read_bytes() == world.wal.segments[position].read_bytes()
    # What the first half of restore_command does: the window moves on by itself.
    (ready / world.names[1]).rename(world.pg_wal / "RECOVERYXLOG")
    wait_for(lambda: sorted(os.listdir(ready)) == world.names[2:6], "the window moved on")


def test_the_server_may_go_back(world: World) -> None:
    """After a kill it asks again from its last restart point; the prefetcher follows."""
    for position in range(8):
        world.delivers(position)
    world.delivers(1)
    wait_for(
        lambda: set(world.names[2:6]) <= set(os.listdir(world.spool_path / "ready")), "the window went back"
    )


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("000000020000000000000001", 255),  # a timeline that nobody planned
        ("000000010000000000000001", 255),  # before the plan
        ("0000000100000FFF00000001", 1),
        ("00000002.history", 1),
        ("000000010000000000000003.partial", 255),
        ("000000010000000000000003.00000028.backup", 255),
        ("nonsense", 255),
        ("", 255),
        ("../../etc/passwd", 255),
    ],
)
def test_answers(world: World, name: str, status: int) -> None:
    assert world.ask(name) == status
    assert list(world.pg_wal.iterdir()) == []


def test_histories(world: World, tmp_path: Path) -> None:
    history = tmp_path / "00000002.history"
    history.write_text("1\t0/3000000\tno recovery target specified\n")
    push(world.repository, str(history), system_id=world.wal.system_id)
    assert world.ask("00000002.history") == 0  # unplanned, and there: its number is taken
    assert world.got() == history.read_bytes()
    world.write(histories=["00000002.history", "00000003.history"])
    assert world.ask("00000002.history") == 0
    world.got()
    world.faults("00000003.history", "history-missing", "was planned")


def test_nothing_is_proven_by_a_repository_that_is_gone(world: World) -> None:
    shutil.rmtree(world.repository.path)
    world.faults("00000009.history", "repository-missing")
    world.faults(world.names[0], "repository-missing")


@pytest.mark.parametrize("text", [None, "", "{", '{"format": 1}', '{"format": 2}', "of the future"])
def test_without_its_plan_it_says_nothing_but_255(world: World, text: str | None) -> None:
    if text == "of the future":
        world.write(format=3)
    else:
        world.plan.unlink()
        if text is not None:
            world.plan.write_text(text)
    for name in (world.names[0], "00000009.history", "0000000100000FFF00000001"):
        assert world.ask(name) == 255
    assert list(world.pg_wal.iterdir()) == []


def other_segment(path: Path) -> None:
    damage.replace(path, path.with_name(f"{path.name[:16]}{int(path.name[16:24], 16) + 1:08X}.zst"))


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (damage.delete, "segment-missing"),
        (damage.truncate, "segment-corrupt"),
        (damage.flip_bit, "segment-corrupt"),
        (damage.zero_fill, "segment-corrupt"),
        (damage.unreadable, "segment-unreadable"),
        (other_segment, "segment-changed"),
        (lambda path: damage.rewrite(path, damage.flipped_inside), "segment-changed"),
        (lambda path: damage.rewrite(path, damage.half_inside), "segment-changed"),
        (lambda path: damage.rewrite(path, damage.zeros_inside), "segment-changed"),
    ],
)
@pytest.mark.parametrize("known_by", ["plain", "packed"])
def test_damaged_after_the_plan(world: World, kind: Any, code: str, known_by: str) -> None:
    """The segments before it are delivered, the damaged one never, whether prefetched or not."""
    if known_by == "packed":
        world.write_packed()
    kind(world.stored(3))
    for position in range(3):
        world.delivers(position)
    for _dummy in range(2):
        world.faults(world.names[3], code, world.names[3])
    assert world.names[3] not in os.listdir(world.spool_path / "ready")
    world.delivers(4)


def test_a_spool_of_another_plan_or_boot_is_thrown_away(world: World) -> None:
    ready = world.spool_path / "ready"
    ready.mkdir(parents=True)
    (ready / world.names[0]).write_bytes(bytes(world.wal.segment_bytes))
    for owner in ("plan0 " + Path("/proc/sys/kernel/random/boot_id").read_text().strip(), "plan1 other-boot"):
        (world.spool_path / "owner").write_text(owner)
        (ready / world.names[0]).write_bytes(bytes(world.wal.segment_bytes))
        world.delivers(0)
        stop_prefetcher(world.spool)


def test_a_ready_segment_of_a_wrong_size_is_not_delivered(world: World) -> None:
    world.delivers(0)
    wait_for(lambda: world.names[1] in os.listdir(world.spool_path / "ready"), "ready")
    stop_prefetcher(world.spool)
    damage.truncate(world.spool_path / "ready" / world.names[1])
    world.delivers(1)


def test_across_file_systems(world: World) -> None:
    """Delivery is a rename where it can be, and a whole copy where it cannot."""
    other = Path("/dev/shm") / f"dbkeeper-test-{os.getpid()}"
    assert os.stat("/dev/shm").st_dev != os.stat(world.root).st_dev
    other.mkdir()
    try:
        for position in range(3):
            assert archive_get(str(world.plan), world.names[position], str(other / "X")) == 0
            assert (other / "X").read_bytes() == world.wal.segments[position].read_bytes()
            assert os.listdir(other) == ["X"]
    finally:
        shutil.rmtree(other)


def test_a_prefetcher_that_is_killed_at_any_moment(world: World) -> None:
    """kill -9 again and again: every segment still arrives whole."""
    for position in range(COUNT - 1):
        world.delivers(position)
        if position == COUNT - 2:
            # Nothing comes after the last one.
            break
        pid = prefetcher(world)
        time.sleep((position % 5) * 0.004)  # another moment of its work each time
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not world.spool.prefetcher_lives(), "the prefetcher's end")


def prefetcher(world: World) -> int:
    """Its process: started by the answer, it takes its lock a moment later."""
    pid = wait_for(world.spool.prefetcher_pid, "the prefetcher")
    assert pid is not None
    return pid


def test_what_a_killed_prefetcher_was_writing_is_not_delivered(world: World) -> None:
    world.delivers(0)
    stop_prefetcher(world.spool)
    for name in world.names[1:4]:
        (world.spool_path / "ready" / name).unlink(missing_ok=True)
        (world.spool_path / "work" / name).write_bytes(bytes(world.wal.segment_bytes))
    for position in range(1, 4):
        world.delivers(position)


def test_one_prefetcher_only(world: World) -> None:
    world.delivers(0)
    pid = prefetcher(world)
    for position in range(1, 4):
        world.delivers(position)
        assert world.spool.prefetcher_pid() == pid


def gone(world: World) -> None:
    wait_for(lambda: not world.spool.prefetcher_lives(), "the prefetcher's end", timeout=240)


@pytest.mark.parametrize("how", ["plan removed", "plan replaced", "spool removed", "used up"])
def test_the_prefetcher_does_not_outlive_its_plan(world: World, how: str) -> None:
    world.delivers(0)
    pid = prefetcher(world)
    if how == "plan removed":
        world.plan.unlink()
    elif how == "plan replaced":
        world.plan.unlink()
        world.write(plan_id="plan2")
    elif how == "spool removed":
        shutil.rmtree(world.spool_path)
    else:
        for position in range(1, COUNT - 1):
            world.delivers(position)
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), "the prefetcher's end", timeout=240)


def test_the_prefetcher_ends_when_nobody_asks(world: World) -> None:
    world.spool.prepare()
    plan = load_plan(str(world.plan))
    source = NativeWalSource(world.repository, world.wal.system_id)
    Prefetcher(plan, world.spool, source, idle_seconds=0.3).run()
    assert sorted(os.listdir(world.spool_path / "ready")) == world.names[:4]
    assert os.listdir(world.spool_path / "work") == []


def slow(world: World, delay: float, *names: str) -> subprocess.Popen[str]:
    return engine_process(
        GET.replace("TARGET", str(world.pg_wal)),
        world.plan,
        world.repository.root,
        world.wal.system_id,
        delay,
        world.root / "fetched",
        *names,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_is_255(world: World, number: signal.Signals) -> None:
    world.write(prefetch=0)
    process = slow(world, 600, world.names[0])
    wait_for((world.spool_path / "wanted").exists, "the fetch begun")
    time.sleep(0.05)
    process.send_signal(number)
    _dummy, err = process.communicate(timeout=240)
    assert process.returncode == 255
    assert f"signal {number.value}" in err
    assert list(world.pg_wal.iterdir()) == []


def test_latency_is_paid_once_for_many(world: World) -> None:
    """With 400 ms for each fetch, as many are on the way at once as the plan allows, and none twice."""
    world.write(prefetch=6)
    names = world.names[:-1]
    process = slow(world, 0.4, *names)
    begun = time.monotonic()
    out, err = process.communicate(timeout=240)
    spent = time.monotonic() - begun
    assert (process.returncode, out, err) == (0, "", "")
    for position, name in enumerate(names):
        assert (world.pg_wal / name).read_bytes() == world.wal.segments[position].read_bytes()
    fetched = [line.split() for line in (world.root / "fetched").read_text().splitlines()]
    assert sorted(name for name, _dummy, _dummy in fetched) == names
    moments = sorted(
        [(float(b), 1) for _dummy, b, _dummy in fetched] + [(float(e), -1) for _dummy, _dummy, e in fetched]
    )
    together = peak = 0
    for _dummy, change in moments:
        together += change
        peak = max(peak, together)
    assert peak >= 6
    print(f"{len(names)} segments with 400 ms each: {spent:.2f} s, one at a time {0.4 * len(names):.1f} s")


def test_the_whole_restore_command_in_a_shell(world: World) -> None:
    """As the server runs it, with the engine started anew for each question."""
    launcher = world.root / "dbkeeper"
    launcher.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path[:0] = {sys.path!r}\n"
        f"from {ENGINE}.repository.get import archive_get\n"
        "sys.exit(archive_get(sys.argv[3], sys.argv[4], sys.argv[5]))\n"
    )
    launcher.chmod(0o755)
    command = restore_command([str(launcher)], str(world.plan), str(world.spool_path))

    def ask(name: str) -> int:
        text = command.replace("%f", name).replace("%p", "pg_wal/RECOVERYXLOG").replace("%%", "%")
        return subprocess.run(["sh", "-c", text], cwd=world.root, check=False).returncode

    for position in range(COUNT - 1):
        assert ask(world.names[position]) == 0
        assert world.got() == world.wal.segments[position].read_bytes()
    assert ask(world.names[-1]) == 1
    damage.delete(world.stored(2))
    assert ask(world.names[2]) == 255
    launcher.unlink()
    assert ask(world.names[0]) in (126, 127)
