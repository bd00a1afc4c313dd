# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The filter: arguments as playbooks give them, errors in Ansible's shape."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible.module_utils.testing import patch_module_args

from ansible_collections.dbkeeper.ops.plugins.filter import pg_tune
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.facts import HostFacts
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.inputs import inputs_line
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.request import Request
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.tune import tune
from ansible_collections.dbkeeper.ops.plugins.modules import pg_host_info

FACTS = {"memory_bytes": 32 << 30, "cpus": 8, "version": 17}
FILTER = pg_tune.FilterModule().filters()["pg_tune"]


def test_it_is_the_engines_answer() -> None:
    given: dict[str, Any] = {"connections": 50, "data_size": "5GB", "pinned": {"jit": True}}
    expected = tune(Request.build("web", **given), HostFacts.from_dict(FACTS))
    assert FILTER(FACTS, "web", **given) == expected
    assert FILTER(FACTS, "web", previous=expected["inputs"], **given) == expected


def test_the_result_is_json() -> None:
    result = FILTER(FACTS, "oltp")
    assert json.loads(json.dumps(result)) == result


def test_a_bare_off_of_yaml() -> None:
    assert FILTER(FACTS, yaml.safe_load("off"))["settings"] == []


def test_errors_say_what_to_do() -> None:
    with pytest.raises(AnsibleFilterError, match=r"there is no intent 'olap'\. Take one of oltp, web"):
        FILTER(FACTS, "olap")


def test_arguments_are_as_documented() -> None:
    documented = yaml.safe_load(pg_tune.DOCUMENTATION)
    parameters = list(inspect.signature(FILTER).parameters.values())[1:]
    assert documented["positional"] == ", ".join(parameter.name for parameter in parameters)
    for parameter in parameters:
        option = documented["options"][parameter.name]
        if parameter.default is inspect.Parameter.empty:
            assert option["required"]
        else:
            assert parameter.default == (option.get("default") or parameter.default)


def test_the_module_answers_where_nothing_is_installed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "10-dbkeeper.conf"
    inputs = FILTER(FACTS, "oltp")["inputs"]
    settings.write_text(f"# head\n{inputs_line(inputs)}\nwork_mem = '4MB'\n")
    instance = {
        "cluster": "main",
        "version": "18",
        "data_directory": f"{tmp_path}/not/yet/data",
        "bin_directory": f"{tmp_path}/bin",
        "socket_directory": f"{tmp_path}/run",
        "port": 5999,
        "service": {"manager": "pg_ctl"},
    }
    for given, previous in (({"settings_file": str(settings)}, inputs), ({}, None)):
        with (
            patch_module_args({"instance": instance, "_ansible_check_mode": True, **given}),
            pytest.raises(SystemExit) as end,
        ):
            pg_host_info.main()
        assert not end.value.code
        answer = json.loads(capsys.readouterr().out)
        facts = answer["facts"]
        assert (answer["changed"], answer["previous"]) == (False, previous)
        assert (facts["version"], facts["wal_compression_methods"], facts["data_bytes"]) == (18, [], None)
        assert facts["memory_bytes"] > 0 and facts["data_filesystem_bytes"] > 0
        values = FILTER(facts, "mixed", previous=answer["previous"])["settings"]
        assert {item["name"]: item["value"] for item in values}["max_connections"] == "100"


def test_the_facts_are_documented() -> None:
    documented = yaml.safe_load(pg_host_info.RETURN)["facts"]["contains"]
    assert list(documented) == list(HostFacts.from_dict(FACTS).to_dict())
