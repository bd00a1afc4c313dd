# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Following a long module: what is shown, what is returned, what is left behind. Ansible's side is scripted."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.playbook.task import Task
from ansible.utils.display import Display

from ansible_collections.dbkeeper.ops.plugins.action.pg_basebackup import ActionModule as BaseBackup
from ansible_collections.dbkeeper.ops.plugins.action.pg_pitr import ActionModule as Restore
from ansible_collections.dbkeeper.ops.plugins.plugin_utils import _follow

RUNNING = {"started": True, "finished": False}
MOVING = {
    "operation": "restore",
    "phase": "replay",
    "state": "running",
    "unit": "bytes",
    "done": 512 << 20,
    "total": 1 << 30,
    "rate": 64 << 20,
    "seconds_left": 8.0,
}


class Shell:
    tmpdir = None


class Connection:
    """As much of a connection as the action touches."""

    _shell = Shell()
    has_native_async = False

    def __init__(self) -> None:
        self.resets = 0

    def reset(self) -> None:
        self.resets += 1


class Script:
    """Answers of the host, by module; an exception is raised."""

    def __init__(self, **answers: list[Any]) -> None:
        self.answers = answers
        self.calls: list[str] = []

    def __call__(self, module_name: str | None = None, **options: Any) -> dict[str, Any]:
        arguments = options.get("module_args") or {}
        name = (module_name or "module").rpartition(".")[2]
        if name == "async_status" and arguments["mode"] == "cleanup":
            name = "cleanup"
        if name == "module" and options.get("wrap_async"):
            name = "start"
        self.calls.append(name)
        answer = self.answers[name].pop(0)
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(Display, "display", lambda self, msg, *rest, **options: lines.append(msg))
    monkeypatch.setattr(
        Display, "warning", lambda self, msg, *rest, **options: lines.append(f"warning: {msg}")
    )
    monkeypatch.setattr(_follow.time, "sleep", lambda seconds: None)
    return lines


def action(kind: type[Any], script: Script, *, check: bool = False) -> Any:
    task = Task()
    task.check_mode = check
    task.args = {"cluster": "main"}
    made = kind(
        task=task,
        connection=Connection(),
        play_context=None,
        loader=None,
        templar=None,
        shared_loader_obj=None,
    )
    made._execute_module = script
    made.get_shell_option = lambda name, default: default
    made._remote_expand_user = lambda path: path
    made._remove_tmp_path = lambda path, force=False: None
    return made


def test_lines_are_shown_as_they_change_and_the_result_is_the_modules_own(shown: list[str]) -> None:
    result = {"changed": True, "plan": {}, "card": ["DONE"]}
    finished = {
        **result,
        "finished": True,
        "started": True,
        "ansible_job_id": "j1",
        "stdout": "",
        "results_file": "x",
    }
    script = Script(
        start=[{"ansible_job_id": "j1", "started": True}],
        async_status=[RUNNING, RUNNING, RUNNING, finished],
        pg_progress_info=[{"progress": {}}, {"progress": MOVING}, {"progress": MOVING}],
        cleanup=[{}],
    )
    assert action(Restore, script).run(task_vars={"inventory_hostname": "db1"}) == result
    assert shown == ["db1: restore · replay: 512.0 MB of 1.0 GB (50 %), 64.0 MB/s, 8.0 s left", "db1 | DONE"]
    assert script.calls[-1] == "cleanup"


def test_what_an_earlier_run_left_is_not_shown(shown: list[str]) -> None:
    script = Script(
        start=[{"ansible_job_id": "j1", "started": True}],
        async_status=[RUNNING, {"changed": False, "finished": True}],
        pg_progress_info=[{"progress": {**MOVING, "state": "done"}}],
        cleanup=[{}],
    )
    assert action(Restore, script).run(task_vars={}) == {"changed": False}
    assert shown == []


def test_a_lost_connection_is_made_again_and_the_result_fetched(shown: list[str]) -> None:
    script = Script(
        start=[{"ansible_job_id": "j1", "started": True}],
        async_status=[
            AnsibleConnectionFailure("gone"),
            AnsibleConnectionFailure("gone"),
            {"changed": True, "finished": True},
        ],
        cleanup=[{}],
    )
    made = action(Restore, script)
    assert made.run(task_vars={}) == {"changed": True}
    assert made._connection.resets == 2
    assert len(shown) == 1 and "the operation goes on" in shown[0]


def test_a_failure_is_returned_with_its_card_and_cleaned_up(shown: list[str]) -> None:
    failure = {"failed": True, "msg": "m", "error": {"code": "segment-missing"}, "card": ["FAILED"]}
    script = Script(
        start=[{"ansible_job_id": "j1", "started": True}],
        async_status=[{**failure, "finished": True}],
        cleanup=[{}],
    )
    assert action(Restore, script).run(task_vars={}) == failure
    assert shown == []


def test_check_mode_asks_the_module_and_starts_nothing(shown: list[str]) -> None:
    script = Script(module=[{"changed": True, "card": ["PLAN"]}])
    assert action(Restore, script, check=True).run(task_vars={"inventory_hostname": "db1"})["changed"]
    assert script.calls == ["module"]
    assert shown == ["db1 | PLAN"]


def test_a_backup_that_is_there_starts_nothing(shown: list[str]) -> None:
    answer = {"changed": False, "backup": {}}
    script = Script(module=[answer])
    made = action(BaseBackup, script)
    assert made.run(task_vars={}) == answer
    assert script.calls == ["module"]
    assert made._task.check_mode is False


def test_a_backup_that_is_refused_is_begun_so_that_its_host_knows(shown: list[str]) -> None:
    """Check mode leaves no trace in the history; the run itself does."""
    refusal = {"failed": True, "error": {"code": "server-not-running"}}
    script = Script(
        module=[refusal],
        start=[{"ansible_job_id": "j1", "started": True}],
        async_status=[{**refusal, "finished": True}],
        cleanup=[{}],
    )
    assert action(BaseBackup, script).run(task_vars={}) == refusal
    assert script.calls == ["module", "start", "async_status", "cleanup"]


def test_a_busy_backup_is_waited_for(shown: list[str]) -> None:
    script = Script(
        module=[{"failed": True, "error": {"code": "busy"}}],
        start=[{"ansible_job_id": "j1", "started": True}],
        async_status=[{"changed": False, "finished": True}],
        cleanup=[{}],
    )
    assert action(BaseBackup, script).run(task_vars={}) == {"changed": False}
