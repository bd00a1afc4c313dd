# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the host command is made of: what it imports, and whether a host has the very same one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cli import install


def test_it_has_what_it_imports_and_nothing_else() -> None:
    sources = install.engine_sources()
    assert {
        "dbkeeper_engine/cli/main.py",
        "dbkeeper_engine/wal/proof.py",
        "dbkeeper_engine/__init__.py",
    } <= set(sources)
    # The pooler is Ansible's work; what it shows clients is for everybody to see.
    pooling = {path.rpartition("/")[2] for path in sources if "/pooling/" in path}
    assert pooling == {"__init__.py", "certificates.py", "seen.py", "wire.py"}


def test_every_module_in_it_can_be_imported_from_it_alone(tmp_path: Path) -> None:
    sources = install.engine_sources()
    data, _stamp = install.build(sources, sys.executable)
    archive = tmp_path / "dbkeeper.pyz"
    archive.write_bytes(data)
    # psycopg is imported where SQL is spoken through it, and need not be there.
    names = [
        path[:-3].replace("/", ".") for path in sorted(sources) if path != "dbkeeper_engine/cluster/sql.py"
    ]
    program = f"import sys, importlib; sys.path.insert(0, {str(archive)!r})\n"
    program += "".join(f"importlib.import_module({name!r})\n" for name in names)
    done = subprocess.run(
        [sys.executable, "-IS", "-c", program], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_a_host_has_it_only_when_all_of_it_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, link = tmp_path / "lib" / "dbkeeper.pyz", tmp_path / "bin" / "dbkeeper"
    monkeypatch.setattr(install, "ARCHIVE", str(archive))
    monkeypatch.setattr(install, "LINK", str(link))
    digest = install.digest_of(install.engine_sources())
    assert not install.is_installed(digest)
    first = install.install(str(archive), str(link), install.INTERPRETER, check=False)
    assert first["changed"] and install.is_installed(digest)
    again = install.install(str(archive), str(link), install.INTERPRETER, check=False)
    assert not again["changed"]
    assert not install.is_installed("0" * 64)
    archive.chmod(0o644)
    assert not install.is_installed(digest)
    install.install(str(archive), str(link), install.INTERPRETER, check=False)
    link.unlink()
    assert not install.is_installed(digest)
