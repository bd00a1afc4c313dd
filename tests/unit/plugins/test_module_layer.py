# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What every module does with results, errors and an operation that runs already."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Failed, Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch.known import all_runs
from ansible_collections.dbkeeper.ops.plugins.module_utils._module import (
    CLUSTER_OPTIONS,
    CONNECTION_OPTIONS,
    connection_options,
    serve,
)
from ansible_collections.dbkeeper.ops.plugins.modules import pg_progress_info

Output = Callable[[], dict[str, Any]]


@pytest.fixture
def output(capsys: pytest.CaptureFixture[str]) -> Output:
    return lambda: dict(json.loads(capsys.readouterr().out))


def busy() -> Refused:
    return Refused("busy", attempted="take a backup", happened="busy by another.", remedy="Wait.")


def run(operation: Callable[[], dict[str, Any]], **options: Any) -> int:
    with patch_module_args(), pytest.raises(SystemExit) as end:
        serve(AnsibleModule(argument_spec={}), operation, **options)
    return int(end.value.code or 0)


def test_an_error_has_four_parts(output: Output) -> None:
    def operation() -> dict[str, Any]:
        raise busy()

    assert run(operation, explain=lambda error: {"card": [error["code"]]}) == 1
    answer = output()
    assert answer["msg"] == "take a backup: busy by another. Wait."
    assert answer["error"]["code"] == "busy"
    assert answer["error"]["touched"] is False
    assert answer["card"] == ["busy"]


def test_one_that_is_busy_is_waited_for(output: Output) -> None:
    answers = [busy(), busy(), {"changed": False}]

    def operation() -> dict[str, Any]:
        answer = answers.pop(0)
        if isinstance(answer, Refused):
            raise answer
        return answer

    assert run(operation, wait_seconds=60) == 0
    assert output()["changed"] is False
    assert answers == []


def test_other_refusals_are_not_waited_for(output: Output) -> None:
    tries = []

    def operation() -> dict[str, Any]:
        tries.append(1)
        raise Refused("server-not-running", attempted="a", happened="b", remedy="c")

    assert run(operation, wait_seconds=60) == 1
    assert output()["error"]["code"] == "server-not-running"
    assert len(tries) == 1


def test_warnings_are_ansibles_and_diffs_are_for_diff_mode(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda module, text: said.append(text))
    assert run(lambda: {"changed": True, "warnings": ["mind the gap"], "diff": {"before": 1}}) == 0
    answer = output()
    assert "diff" not in answer
    assert said == ["mind the gap"]


def description(root: Path) -> dict[str, Any]:
    return {
        "format": 1,
        "cluster": "main",
        "version": "15",
        "data_directory": f"{root}/data",
        "bin_directory": "/usr/lib/postgresql/15/bin",
        "socket_directory": "/run/postgresql",
        "port": 5433,
        "service": {"manager": "pg_ctl"},
        "state_directory": str(root),
    }


def test_a_cluster_that_nobody_registered_is_refused(tmp_path: Path, output: Output) -> None:
    with patch_module_args({"config": f"{tmp_path}/none.json"}), pytest.raises(SystemExit):
        pg_progress_info.main()
    answer = output()
    assert answer["error"]["code"] == "config-missing"
    assert "dbkeeper.ops.site" in answer["msg"]


def test_progress_is_read_without_a_server(tmp_path: Path, output: Output) -> None:
    (tmp_path / "main.json").write_text(json.dumps(description(tmp_path)))
    record = {
        "operation": "restore",
        "state": "done",
        "phase": "swap",
        "unit": "bytes",
        "done": 0,
        "total": None,
    }
    (tmp_path / "progress.json").write_text(json.dumps(record))
    with patch_module_args({"config": f"{tmp_path}/main.json"}), pytest.raises(SystemExit):
        pg_progress_info.main()
    answer = output()
    assert (answer["changed"], answer["progress"], answer["line"]) == (False, record, "restore · done")


def kept(
    root: Path, operation: Callable[[], dict[str, Any]], name: str, **options: Any
) -> list[dict[str, Any]]:
    """What a module of that name leaves in the history."""
    (root / "data").mkdir(exist_ok=True)
    (root / "main.json").write_text(json.dumps(description(root)))
    with patch_module_args({"config": f"{root}/main.json", **options}), pytest.raises(SystemExit):
        spec = {**CLUSTER_OPTIONS, "trial": {"type": "str"}}
        module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
        module._name = name
        serve(module, operation)
    return all_runs(str(root))


def test_what_a_module_does_is_in_the_history(tmp_path: Path, output: Output) -> None:
    def refuse() -> dict[str, Any]:
        raise busy()

    done = {"changed": True, "backup": {"label": "x", "stored_bytes": 7}}
    (first,) = kept(tmp_path, lambda: done, "dbkeeper.ops.pg_basebackup")
    assert (first["operation"], first["result"], first["who"]["door"]) == ("backup", "ok", "ansible")
    assert first["facts"] == {"label": "x", "stored_bytes": 7}
    (_first, second) = kept(tmp_path, refuse, "pg_pitr")
    assert (second["operation"], second["result"], second["code"]) == ("restore", "refused", "busy")
    assert len(kept(tmp_path, lambda: done, "dbkeeper.ops.pg_backup_info")) == 2


def test_a_trial_is_a_trial_and_no_verification(tmp_path: Path, output: Output) -> None:
    """Otherwise loading one dump would count as everything having been read."""
    done = {"changed": False, "executed": True, "trial": {"database": "app"}}
    (run,) = kept(tmp_path, lambda: done, "pg_backup_verify", trial="app")
    assert (run["operation"], run["result"], run["facts"]["database"]) == ("trial", "unchanged", "app")


def test_what_only_looks_is_not_in_the_history(tmp_path: Path, output: Output) -> None:
    name = "dbkeeper.ops.pg_basebackup"
    assert kept(tmp_path, lambda: {"changed": True}, name, _ansible_check_mode=True) == []


def test_a_history_that_cannot_be_written_is_a_warning(
    tmp_path: Path, output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda module, text: said.append(text))
    (tmp_path / "history.jsonl").mkdir()
    with pytest.raises(Failed):
        kept(tmp_path, lambda: {"changed": True}, "dbkeeper.ops.pg_basebackup")
    assert output()["changed"] is True and "history" in said[0]


GIVEN: dict[str, Any] = dict.fromkeys(CONNECTION_OPTIONS)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"login_port": 5433, "login_user": "postgres", "login_unix_socket": "/run/postgresql"}),
        (
            {"login_host": "db1", "login_user": "me"},
            {"login_host": "db1", "login_port": 5433, "login_user": "me"},
        ),
    ],
)
def test_the_cluster_fills_in_where_to_connect(
    given: dict[str, Any], expected: dict[str, Any], tmp_path: Path
) -> None:
    config = ClusterConfig.from_dict(description(tmp_path), source="test")
    assert connection_options({**GIVEN, **given}, config) == expected
