# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The layers of docs/architecture.md, held by reading the imports: a wrong one is a name in a list here."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
PLUGINS = CHECKOUT / "plugins"
ENGINE = PLUGINS / "module_utils" / "_engine"
#: A package may import from itself and from those before it.
ORDER = (
    "core",
    "wal",
    "repository",
    "retention",
    "cluster",
    "tuning",
    "settings",
    "pooling",
    "backup",
    "recovery",
    "standby",
    "logical",
    "copies",
    "watch",
    "report",
    "cli",
)
#: The only places where the engine may leave the standard library.
OUTSIDE = {"cluster/sql.py": {"psycopg"}, "copies/s3client.py": {"boto3", "botocore"}}
#: Controller only, and there already: ansible-core itself needs it for ansible-vault.
PLUGINS_OUTSIDE = {"plugin_utils/_authority.py": {"cryptography"}}
LARGEST_FILE = 450
LARGEST_MODULE = 80
#: Lines that go to a host with every call of every module, however little it does: read, packed, sent, compiled.
LARGEST_LUGGAGE = 2500

ENGINE_FILES = sorted(ENGINE.rglob("*.py"))
PLUGIN_FILES = sorted(path for path in PLUGINS.rglob("*.py") if ENGINE not in path.parents)


def name(path: Path) -> str:
    """A file as shown in a failure."""
    return str(path.relative_to(CHECKOUT))


def imports(path: Path) -> Iterator[tuple[int, int, str]]:
    """(line, dots, dotted name) of every import, wherever in the file it stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, 0, alias.name
        elif isinstance(node, ast.ImportFrom):
            if node.module:
                yield node.lineno, node.level, node.module
            else:
                for alias in node.names:
                    yield node.lineno, node.level, alias.name


def package_of(path: Path, dots: int, dotted: str) -> str | None:
    """The engine package that a relative import reaches; None when it leaves the engine."""
    parts = path.relative_to(ENGINE).parent.parts
    if dots - 1 > len(parts):
        return None
    reached = [*parts[: len(parts) - (dots - 1)], *dotted.split(".")]
    return reached[0]


def test_the_engine_has_the_packages_of_the_architecture() -> None:
    packages = {path.name for path in ENGINE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert packages == set(ORDER)


@pytest.mark.parametrize("path", ENGINE_FILES, ids=name)
def test_engine_imports_point_only_upward(path: Path) -> None:
    home = path.relative_to(ENGINE).parts[0]
    allowed = set(ORDER[: ORDER.index(home) + 1]) if home in ORDER else set()
    wrong = [
        f"line {line}: {'.' * dots}{dotted}"
        for line, dots, dotted in imports(path)
        if dots and package_of(path, dots, dotted) not in allowed
    ]
    assert not wrong, f"{name(path)} may import only from {sorted(allowed)}: {wrong}"


@pytest.mark.parametrize("path", ENGINE_FILES, ids=name)
def test_the_engine_needs_only_the_standard_library(path: Path) -> None:
    allowed = sys.stdlib_module_names | OUTSIDE.get(str(path.relative_to(ENGINE)), set())
    wrong = [
        f"line {line}: {dotted}"
        for line, dots, dotted in imports(path)
        if not dots and dotted.split(".")[0] not in allowed
    ]
    assert not wrong, f"{name(path)}: {wrong}"


def carried(path: Path) -> set[Path]:
    """A file and all of ours that it imports, as Ansible packs them: wherever in a file the import stands."""
    found, waiting = {path}, [path]
    while waiting:
        file = waiting.pop()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not node.level:
                continue
            base = file.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            reached = {base / f"{alias.name}.py" for alias in node.names} | {base.with_suffix(".py")}
            new = {item for item in reached if item.exists()} - found
            found |= new
            waiting += new
    return found


def test_no_module_carries_what_it_does_not_need() -> None:
    luggage = carried(PLUGINS / "module_utils" / "_module.py")
    lines = {name(path): path.read_text(encoding="utf-8").count("\n") for path in luggage}
    assert 1000 < sum(lines.values()) <= LARGEST_LUGGAGE, sorted(lines.items(), key=lambda item: -item[1])


def test_outside_libraries_are_imported_only_when_used() -> None:
    for relative in OUTSIDE:
        path = ENGINE / relative
        top = ast.parse(path.read_text(encoding="utf-8")).body
        eager = [node for node in top if isinstance(node, (ast.Import, ast.ImportFrom))]
        names = {
            alias.name if isinstance(node, ast.Import) else str(node.module)
            for node in eager
            for alias in node.names
        }
        outside = {dotted for dotted in names if dotted.split(".")[0] in OUTSIDE[relative]}
        assert not outside, f"{name(path)} imports {outside} for everybody, also where it is not installed"


@pytest.mark.parametrize("path", [path for path in ENGINE_FILES if path.name == "__init__.py"], ids=name)
def test_package_files_of_the_engine_are_empty(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == ""


@pytest.mark.parametrize("path", PLUGIN_FILES, ids=name)
def test_only_the_engine_of_the_collection_does_work_for_plugins(path: Path) -> None:
    """Plugins import Ansible, the standard library and this collection; nothing else."""
    outside = PLUGINS_OUTSIDE.get(str(path.relative_to(PLUGINS)), set())
    allowed = sys.stdlib_module_names | {"ansible", "ansible_collections"} | outside
    wrong = [
        f"line {line}: {dotted}"
        for line, dots, dotted in imports(path)
        if not dots and dotted.split(".")[0] not in allowed
    ]
    assert not wrong, f"{name(path)}: {wrong}"


def code_lines(path: Path) -> int:
    """Lines that hold code: no blank lines, comments, docstrings or documentation blocks."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    prose: set[int] = set()
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            prose.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    for statement in tree.body:
        blocks = ("DOCUMENTATION", "EXAMPLES", "RETURN")
        if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", "") in blocks:
            prose.update(range(statement.lineno, (statement.end_lineno or statement.lineno) + 1))
    lines = enumerate(text.splitlines(), 1)
    return sum(1 for number, line in lines if number not in prose and line.strip() and line.strip()[0] != "#")


def test_code_lines_counts_only_code(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text(
        '"""Doc\nstring."""\n\n# comment\nDOCUMENTATION = r"""\na: b\n"""\nimport os\n\nprint(os)  # said\n'
    )
    assert code_lines(source) == 2


@pytest.mark.parametrize("path", sorted((PLUGINS / "modules").glob("*.py")), ids=name)
def test_modules_are_thin(path: Path) -> None:
    assert code_lines(path) <= LARGEST_MODULE


@pytest.mark.parametrize(
    "path", ENGINE_FILES + PLUGIN_FILES + sorted((CHECKOUT / "tests").rglob("*.py")), ids=name
)
def test_files_are_small_enough_to_read(path: Path) -> None:
    code = path.read_text(encoding="utf-8")
    documentation = sum(
        (node.end_lineno or node.lineno) - node.lineno + 1
        for node in ast.parse(code).body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
    assert len(code.splitlines()) - documentation <= LARGEST_FILE
