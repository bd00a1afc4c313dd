# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The host command run from the checkout, with places where a test can stop or kill it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .waiting import wait_for

CHECKOUT = Path(__file__).resolve().parents[3]
ENGINE_PARENT = CHECKOUT / "plugins" / "module_utils"

#: ``step:status`` (a trailing * matches any rest of the step's name): the process kills itself there.
KILL_AT = "DBKEEPER_TEST_KILL_AT"
#: ``step:status``: the process stands still there until the file of PAUSE_FILE is there.
PAUSE_AT = "DBKEEPER_TEST_PAUSE_AT"
PAUSE_FILE = "DBKEEPER_TEST_PAUSE_FILE"
#: Where every step that was passed is written, one a line.
STEPS_FILE = "DBKEEPER_TEST_STEPS_FILE"
#: A segment's name: fetching it for a staged server stands still until the file of HOLD_FILE is there.
HOLD_GET = "DBKEEPER_TEST_HOLD_GET"
HOLD_FILE = "DBKEEPER_TEST_HOLD_FILE"
#: Seconds that fetching any segment for a staged server takes.
DELAY_GET = "DBKEEPER_TEST_DELAY_GET"
#: The how-manieth rename of data directories is the last thing that the command does.
KILL_AT_RENAME = "DBKEEPER_TEST_KILL_AT_RENAME"

_LAUNCHER = '''"""Made by the test harness: the host command from the checkout, with the tests' hooks."""
import os, signal, sys, time
sys.path.insert(0, {engine_parent!r})
from _engine.core import journal

def _matches(wanted, step, status):
    name, _, when = wanted.rpartition(":")
    return when == status and (step.startswith(name[:-1]) if name.endswith("*") else step == name)

def _stand_still(flag):
    with open(flag + ".reached", "w"):
        pass
    while not os.path.exists(flag):
        time.sleep(0.01)

def _hook(step, status):
    seen = os.environ.get({steps_file!r})
    if seen:
        with open(seen, "a") as handle:
            handle.write(step + ":" + status + "\\n")
    if _matches(os.environ.get({pause_at!r}, ""), step, status):
        _stand_still(os.environ[{pause_file!r}])
    if _matches(os.environ.get({kill_at!r}, ""), step, status):
        os.kill(os.getpid(), signal.SIGKILL)

if any(name in os.environ for name in ({kill_at!r}, {pause_at!r}, {steps_file!r})):
    journal.add_hook(_hook)
if sys.argv[1:2] == ["archive-get"] and ({hold_get!r} in os.environ or {delay_get!r} in os.environ):
    # Fetching ahead is held too; it happens in a fork of the same program.
    from _engine.repository import get, prefetch
    _fetch = prefetch.fetch_planned

    def _held_fetch(plan, source, position, target):
        time.sleep(float(os.environ.get({delay_get!r}, "0")))
        if plan.names[position] == os.environ.get({hold_get!r}):
            _stand_still(os.environ[{hold_file!r}])
        return _fetch(plan, source, position, target)

    prefetch.fetch_planned = get.fetch_planned = _held_fetch
if {kill_at_rename!r} in os.environ:
    from _engine.recovery import swap
    _left = [int(os.environ[{kill_at_rename!r}])]

    def _rename(source, target):
        os.rename(source, target)
        _left[0] -= 1
        if not _left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    swap.rename_durable = _rename
from _engine.cli.main import main
sys.exit(main())
'''


@dataclass(frozen=True)
class Answer:
    """What the host command answered."""

    status: int
    out: str
    err: str
    argv: tuple[str, ...]

    @property
    def data(self) -> dict[str, Any]:
        """Its JSON. Raises AssertionError with all that was said when there is none."""
        try:
            value = json.loads(self.out)
        except ValueError as error:
            raise AssertionError(f"no JSON from {self}: {error}") from error
        assert isinstance(value, dict), self
        return value

    @property
    def error(self) -> dict[str, Any]:
        """The error in its JSON: code, attempted, happened, remedy, details, touched."""
        value = self.data.get("error")
        assert isinstance(value, dict), f"no error in {self}"
        return value

    def expect(self, status: int = 0) -> dict[str, Any]:
        """Its JSON, after making sure of the exit status."""
        assert self.status == status, str(self)
        return self.data

    def refused(self, code: str, *words: str, status: int = 2) -> dict[str, Any]:
        """The error of a refusal, after making sure of status, code and that all words are in its text."""
        assert self.status == status, str(self)
        assert self.error["code"] == code, str(self)
        text = " ".join(str(self.error[part]) for part in ("attempted", "happened", "remedy"))
        for word in words:
            assert word in text, f"{word!r} is not in: {text}"
        for part in ("attempted", "happened", "remedy"):
            assert self.error[part].strip(), f"{part} is empty in {self}"
        return self.error

    def failed(self, code: str, *words: str) -> dict[str, Any]:
        """As :meth:`refused`, for a failure on the way."""
        return self.refused(code, *words, status=3)

    def __str__(self) -> str:
        return f"{' '.join(self.argv)} -> {self.status}\n--- out\n{self.out}\n--- err\n{self.err}"


def write_launcher(directory: Path) -> Path:
    """An executable ``dbkeeper`` that runs the engine of this checkout."""
    script = directory / "dbkeeper_launcher.py"
    script.write_text(
        _LAUNCHER.format(
            engine_parent=str(ENGINE_PARENT),
            kill_at=KILL_AT,
            pause_at=PAUSE_AT,
            pause_file=PAUSE_FILE,
            steps_file=STEPS_FILE,
            hold_get=HOLD_GET,
            hold_file=HOLD_FILE,
            delay_get=DELAY_GET,
            kill_at_rename=KILL_AT_RENAME,
        )
    )
    command = directory / "dbkeeper"
    # Compiled files go to one place of our own: the checkout may belong to somebody else.
    cache = Path(tempfile.gettempdir()) / f"dbkeeper-test-pycache-{os.getuid()}"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S -X pycache_prefix={cache} {script} "$@"\n')
    command.chmod(0o755)
    return command


class Running:
    """A host command that has been started and not waited for."""

    def __init__(self, argv: list[str], environment: dict[str, str], pause_file: Path | None) -> None:
        """``pause_file`` is the flag of a command that will stand still."""
        self.argv = argv
        self.process = subprocess.Popen(
            argv,
            env=environment,
            cwd="/",
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._pause_file = pause_file

    @property
    def pid(self) -> int:
        """Of the command itself."""
        return self.process.pid

    def wait_paused(self, timeout: float = 240.0) -> None:
        """Until it stands still where ``pause_at`` or ``hold_get`` said."""
        assert self._pause_file is not None, "started without pause_at and hold_get"
        reached = Path(f"{self._pause_file}.reached")
        wait_for(
            lambda: reached.exists() or self.process.poll() is not None,
            f"{reached} from {' '.join(self.argv)}",
            timeout=timeout,
        )
        assert reached.exists(), str(self.wait())

    def resume(self) -> None:
        """Go on after :meth:`wait_paused`."""
        assert self._pause_file is not None
        self._pause_file.touch()

    def kill(self) -> Answer:
        """kill -9 of the command alone, as an out-of-memory killer does; its children live on."""
        self.process.send_signal(signal.SIGKILL)
        return self.wait()

    def kill_group(self) -> Answer:
        """kill -9 of the command and of its children in the same process group."""
        os.killpg(self.process.pid, signal.SIGKILL)
        return self.wait()

    def wait(self, timeout: float = 400.0) -> Answer:
        """Until it has ended."""
        try:
            out, err = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            out, err = self.process.communicate(timeout=240)
            raise AssertionError(
                f"{' '.join(self.argv)} did not end within {timeout:g} s\n{out}\n{err}"
            ) from None
        return Answer(self.process.returncode, out, err, tuple(self.argv))
