# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A process is known by number, start and boot; anything else with its number is left alone."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.bed.process import BedError, ProcessId, run, wait_until


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def test_the_right_process_is_killed(sleeper: subprocess.Popen[bytes]) -> None:
    process = ProcessId.of(sleeper.pid)
    assert process is not None and process.alive()
    assert process.send(signal.SIGKILL)
    assert sleeper.wait() == -signal.SIGKILL
    assert not process.alive()
    assert not process.send(signal.SIGKILL)


@pytest.mark.parametrize("other", [{"started": 1}, {"boot": "another"}])
def test_another_process_with_the_number_is_spared(
    sleeper: subprocess.Popen[bytes], other: dict[str, int | str]
) -> None:
    real = ProcessId.of(sleeper.pid)
    assert real is not None
    impostor = ProcessId.load({**dataclasses.asdict(real), **other})
    assert impostor is not None
    assert not impostor.alive()
    assert not impostor.send(signal.SIGKILL)
    assert real.alive()


def test_a_dead_process_that_nobody_waited_for_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    process = ProcessId.of(child.pid)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process is None or not process.alive()
    child.wait()


def test_a_name_with_spaces_and_parentheses_is_read_past() -> None:
    code = "import ctypes, os; ctypes.CDLL(None).prctl(15, b'x) Z 1 (', 0, 0, 0); os.write(1, b'.'); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.read(1)
        process = ProcessId.of(child.pid)
        assert process is not None and process.alive()
        child.kill()


def test_a_failure_carries_what_the_program_said() -> None:
    with pytest.raises(BedError, match="(?s)exit status 3 from: .*no such moon"):
        run(sys.executable, "-c", "import sys; print('no such moon', file=sys.stderr); sys.exit(3)")


def test_waiting_in_vain_names_what_was_waited_for() -> None:
    with pytest.raises(BedError, match="for the moon"):
        wait_until(lambda: False, 0.1, "the moon")
