# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a person sees with the callback story: real runs of ansible-playbook against this machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]
PLAYBOOK = """
- name: The play
  hosts: all
  gather_facts: false
  tasks:
    - name: A task that changes nothing
      ansible.builtin.command: "true"
      changed_when: false

    - name: A task that changes something
      ansible.builtin.command: "true"
      changed_when: true

    - name: A task that is skipped
      ansible.builtin.command: "true"
      when: false

    - name: A task that waits
      ansible.builtin.command: test -e {waited}
      register: waited
      until: waited.rc == 0
      retries: 3
      delay: 0.1
      ignore_errors: true

    - name: A message
      ansible.builtin.debug:
        msg: [first line, "second: line"]
{more}
"""
FAILING = """
    - name: A task that fails
      ansible.builtin.fail:
        msg: the reason
"""


def run(
    tmp_path: Path, *, more: str = "", hosts: str = "one,", options: tuple[str, ...] = ()
) -> tuple[int, str]:
    playbook = tmp_path / "playbook.yml"
    playbook.write_text(PLAYBOOK.format(waited=tmp_path / "never", more=more), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", hosts, "-c", "local", str(playbook), *options],
        env={
            **environment,
            "ANSIBLE_STDOUT_CALLBACK": "dbkeeper.ops.story",
            "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "build"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCALHOST_WARNING": "0",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "HOME": str(tmp_path),
        },
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout


def test_what_changed_and_what_was_said_and_nothing_else(tmp_path: Path) -> None:
    status, out = run(tmp_path)
    assert status == 0, out
    # On a busy machine anything may take a second, which is said then.
    lines = [re.sub(r" \(\d+ s\)$", "", line.strip()) for line in out.splitlines() if line.strip()]
    assert lines[:-1] == ["The play", "+ A task that changes something", "first line", "second: line"], out
    assert lines[-1].endswith(" s"), out


def test_a_failure_says_where_and_why(tmp_path: Path) -> None:
    status, out = run(tmp_path, more=FAILING)
    assert status == 2, out
    lines = [line.strip() for line in out.splitlines()]
    assert lines.index("FAILED: A task that fails") + 1 == lines.index("the reason"), out
    assert any(line.startswith("one: ") and "1 failed" in line for line in lines), out


def test_with_several_hosts_each_line_names_its_own(tmp_path: Path) -> None:
    status, out = run(tmp_path, hosts="one,two,")
    assert status == 0, out
    for host in ("one", "two"):
        assert f"{host}: + A task that changes something" in out
        assert f"{host}: first line" in out


def test_who_asks_for_more_sees_every_task(tmp_path: Path) -> None:
    _status, out = run(tmp_path, options=("-v",))
    assert "= A task that changes nothing" in out
    assert "FAILED: A task that waits" in out
