# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Running the collection's playbooks against molecule's hosts, and reading what Ansible said."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

_TASK = re.compile(r"(?:TASK|RUNNING HANDLER) \[(?P<task>.*?)\] \*")
_RECAP = re.compile(r"^(\S+) +: ok=\d+ +changed=(\d+)", re.MULTILINE)
_CHANGED = re.compile(r"changed: \[(?P<host>[^\]]+)\]")


@dataclass(frozen=True)
class Run:
    """What a run of Ansible printed."""

    status: int
    out: str

    @property
    def changed(self) -> set[tuple[str, str]]:
        """(host, task) of everything that was reported as changed."""
        found = set()
        task = ""
        for line in self.out.splitlines():
            named = _TASK.search(line)
            task = named["task"] if named else task
            said = _CHANGED.search(line)
            if said:
                found.add((said["host"], task))
        return found

    @property
    def recap(self) -> dict[str, int]:
        """Host -> how many of its tasks changed something, as Ansible counts at the end."""
        return {host: int(count) for host, count in _RECAP.findall(self.out)}


def command(name: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """How a playbook of the collection, or one by its path, is started against molecule's hosts."""
    argv = [
        "ansible-playbook",
        name if os.sep in name else f"dbkeeper.ops.{name}",
        "-i",
        os.environ["MOLECULE_INVENTORY_FILE"],
        *arguments,
    ]
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
    environment.pop("ANSIBLE_LOG_PATH", None)
    environment["ANSIBLE_COLLECTIONS_PATH"] = f"{os.environ['MOLECULE_PROJECT_DIRECTORY']}/build"
    return argv, environment


def playbook(name: str, *arguments: str) -> Run:
    """Run a playbook of the collection to its end."""
    argv, environment = command(name, *arguments)
    begun = time.monotonic()
    done = subprocess.run(
        argv,
        env=environment,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    # Shown by pytest -rP: where the time of a scenario goes.
    print(f"{Path(name).stem}: {time.monotonic() - begun:.1f} s")
    return Run(done.returncode, done.stdout)


def cut_off(name: str, *arguments: str, when: str) -> str:
    """Start a playbook and kill Ansible, all of it, as soon as it prints ``when``; returns what it printed."""
    argv, environment = command(name, *arguments)
    process = subprocess.Popen(
        argv,
        env={**environment, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    printed = ""
    try:
        for line in process.stdout:
            printed += line
            if when in line:
                break
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return printed


def converge_runs() -> list[Run]:
    """The runs of the playbook site that molecule made: check mode on bare hosts, converge, idempotence."""
    log = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "ansible.log").read_text(encoding="utf-8")
    newest = log.rpartition("PLAY [Wait for the hosts]")[2]
    parts = newest.split("PLAY [Configure PostgreSQL and its backups]")[1:]
    return [Run(0, part.partition("PLAY RECAP")[0]) for part in parts]
