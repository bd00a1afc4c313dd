# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the collection says about itself agrees with what is in it."""

from __future__ import annotations

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


def test_the_action_group_all_lists_every_module() -> None:
    # Defaults that a user sets for the group would otherwise not reach the forgotten module.
    runtime = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())
    modules = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py"))
    assert runtime["action_groups"]["all"] == modules


def test_every_version_of_python_that_is_promised_is_checked() -> None:
    promised = yaml.safe_load((ROOT / "tests/config.yml").read_text())["modules"]["python_requires"]
    assert promised == ">=3.9"
    assert 'MANAGED_HOSTS = "3.9"' in (ROOT / "tools/lint.py").read_text()
    assert 'target-version = "py39"' in (ROOT / "pyproject.toml").read_text()


def test_every_requirement_is_pinned() -> None:
    constraints = (ROOT / "requirements-constraints.txt").read_text().lower().replace("_", "-").splitlines()
    for path in sorted(ROOT.glob("requirements*.txt")):
        lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
        assert lines
        for line in lines:
            name, equals, version = line.partition("==")
            assert equals and version, f"{path.name}: {line}"
            bare = name.partition("[")[0].lower().replace("_", "-")
            assert f"{bare}=={version}" in constraints, f"{path.name}: {line} is not what the constraints say"


def test_only_what_an_installed_collection_needs_is_packed() -> None:
    # What is neither packed on purpose nor ignored would be published by mistake.
    packed = {"changelogs", "docs", "inventories", "meta", "playbooks", "plugins", "roles", "tests"}
    packed |= {"CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "README.ja.md", "galaxy.yml"}
    ignored = yaml.safe_load((ROOT / "galaxy.yml").read_text())["build_ignore"]
    for path in ROOT.iterdir():
        if path.name == ".git" or path.name in packed:
            continue
        assert any(path.match(pattern) for pattern in ignored), f"{path.name} would be packed"
