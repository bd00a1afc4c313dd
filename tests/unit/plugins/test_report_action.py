# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The action fleet_report in a real run of ansible-playbook: what was registered is data, never a template."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.report_hosts import finding, node, result

CHECKOUT = Path(__file__).resolve().parents[3]
SYSTEM = "7100000000000000001"
#: What a statement may hold, and what would be worked out if it were a template.
TEMPLATE = "SELECT '{{ 6 * 7 }}' {% raw %} {{ lookup('pipe', 'id') }}"
PLAYBOOK = """
- name: Report
  hosts: all
  gather_facts: false
  tasks:
    - name: Check the rules
      dbkeeper.ops.fleet_report:
        fail_on: "{{ rules }}"
      run_once: true

    - name: Read what a module would say
      ansible.builtin.command: cat {folder}/{{ inventory_hostname }}.json
      changed_when: false
      check_mode: false
      register: said
      when: inventory_hostname != 'gone'

    - name: Have it as if a module had said it
      ansible.builtin.set_fact:
        __report_index: "{{ said.stdout | from_json }}"
      when: inventory_hostname != 'gone'

    - name: Have one that was never reached
      ansible.builtin.set_fact:
        __report_reached: {unreachable: true, msg: no route}
      when: inventory_hostname == 'gone'

    - name: Make the report
      dbkeeper.ops.fleet_report:
        hosts: "{{ ansible_play_hosts_all }}"
        directory: {folder}/report
        fail_on: "{{ rules }}"
        language: ja
      run_once: true
      register: made

    - name: Say it
      ansible.builtin.debug:
        msg: "changed={{ made.changed }} passed={{ made.gate.passed }} broken={{ made.gate.failures | length }}"
      run_once: true
"""


def run(folder: Path, rules: list[str], *options: str) -> tuple[int, str]:
    playbook = folder / "playbook.yml"
    playbook.write_text(PLAYBOOK.replace("{folder}", str(folder)), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    inventory = folder / "hosts.yml"
    hosts: dict[str, Any] = {
        "one": {},
        "two": {"postgresql_primary": "one"},
        "gone": {"postgresql_primary": "one"},
    }
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}), encoding="utf-8")
    more = ["-e", json.dumps({"rules": rules, "ansible_python_interpreter": sys.executable}), *options]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "ansible",
            "playbook",
            "-i",
            str(inventory),
            "-c",
            "local",
            str(playbook),
            *more,
        ],
        env={
            **environment,
            "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "build"),
            "ANSIBLE_NOCOLOR": "1",
            "HOME": str(folder),
        },
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def say(folder: Path) -> None:
    for name in ("one", "two"):
        of = node(SYSTEM, name, standby=name == "two")
        told = finding(
            1, SYSTEM, thing={"kind": "index", "schema": "public", "name": TEMPLATE}, action=(TEMPLATE,)
        )
        (folder / f"{name}.json").write_text(json.dumps(result(of, [told])), encoding="utf-8")


def test_a_report_is_made_of_what_was_registered(tmp_path: Path) -> None:
    say(tmp_path)
    status, out = run(tmp_path, ["unreachable"])
    assert status == 0, out
    assert "changed=True passed=False broken=1" in out
    document = json.loads((tmp_path / "report/report.json").read_text(encoding="utf-8"))
    states = {each["name"]: each["state"] for each in document["clusters"][0]["nodes"]}
    assert states == {"one": "seen", "two": "seen", "gone": "unreachable"}
    (told,) = document["clusters"][0]["findings"]
    assert told["action"] == [TEMPLATE] and told["object"]["name"] == TEMPLATE
    assert told["nodes"] == ["one", "two"]
    assert document["not_seen"][0]["why"] == "no route"
    assert (tmp_path / "report/report.html").stat().st_mode & 0o777 == 0o600
    before = (tmp_path / "report/report.json").read_bytes()
    status, out = run(tmp_path, [], "--check")
    assert status == 0, out
    assert "changed=True passed=True broken=0" in out
    assert (tmp_path / "report/report.json").read_bytes() == before


def test_a_wrong_rule_is_found_before_a_host_is_read(tmp_path: Path) -> None:
    status, out = run(tmp_path, ["criticals"])
    assert status == 2
    assert "Did you mean 'critical'?" in out
    assert "Read what a module would say" not in out
    assert not (tmp_path / "report").exists()
