# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a role's documentation promises is what its defaults hold: same names, same values, same types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROLES = Path(__file__).resolve().parents[3] / "roles"
NAMES = sorted(path.parent.parent.name for path in ROLES.glob("*/meta/argument_specs.yml"))
PYTHON_TYPES = {"path": "str", **{name: name for name in ("str", "int", "bool", "list", "dict", "float")}}


def load(role: str, path: str) -> Any:
    return yaml.safe_load((ROLES / role / path).read_text(encoding="utf-8")) or {}


def options(role: str, entry: str = "main") -> dict[str, Any]:
    specs: dict[str, Any] = load(role, "meta/argument_specs.yml")["argument_specs"]
    found: dict[str, Any] = specs[entry]["options"]
    return found


def test_every_role_has_specs() -> None:
    assert [path.name for path in sorted(ROLES.iterdir()) if path.is_dir()] == NAMES


@pytest.mark.parametrize("role", NAMES)
def test_defaults_equal_the_specification(role: str) -> None:
    promised = {name: spec.get("default") for name, spec in options(role).items() if not spec.get("required")}
    assert promised == load(role, "defaults/main.yml")


@pytest.mark.parametrize("role", NAMES)
def test_defaults_have_the_promised_type(role: str) -> None:
    defaults = load(role, "defaults/main.yml")
    for name, spec in options(role).items():
        if name in defaults:
            assert type(defaults[name]).__name__ == PYTHON_TYPES[spec["type"]], name
            assert defaults[name] in spec.get("choices", [defaults[name]]), name


@pytest.mark.parametrize("role", NAMES)
def test_other_entry_points_say_the_same(role: str) -> None:
    main = options(role)
    for entry in load(role, "meta/argument_specs.yml")["argument_specs"]:
        for name, spec in options(role, entry).items():
            assert {**spec, "description": ""} == {**main[name], "description": ""}, f"{entry}: {name}"


@pytest.mark.parametrize("role", NAMES)
def test_variables_carry_the_role_name(role: str) -> None:
    assert all(name.startswith(f"{role}_") for name in options(role))
    for path in sorted((ROLES / role / "vars").glob("*.yml")):
        assert all(name.startswith(f"__{role}_") for name in load(role, f"vars/{path.name}")), path.name


@pytest.mark.parametrize("role", NAMES)
def test_every_variable_is_in_the_readme(role: str) -> None:
    text = (ROLES / role / "README.md").read_text(encoding="utf-8")
    assert [name for name in options(role) if f"`{name}`" not in text] == []
