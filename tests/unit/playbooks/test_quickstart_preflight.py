# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The quickstart keeps its hands off what it has not made, and takes a port that nobody has or wants."""

from __future__ import annotations

import importlib.util
import socket
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).resolve().parents[3] / "playbooks/files/quickstart_preflight.py"
FIRST_PORT = 25433


def load() -> Any:
    spec = importlib.util.spec_from_file_location("quickstart_preflight", SOURCE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


preflight = load()


def look(root: Path, needed_bytes: int = 1) -> dict[str, Any]:
    home = root / "var/lib/dbkeeper/quickstart"
    (root / "var/lib/dbkeeper").mkdir(parents=True, exist_ok=True)
    answer: dict[str, Any] = preflight.look(
        "quickstart", str(home), str(home / "mark.json"), FIRST_PORT, needed_bytes, str(root)
    )
    return answer


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_bare_machine_will_do(tmp_path: Path) -> None:
    found = look(tmp_path)
    assert (found["problem"], found["ours"]) == ("", False)
    assert found["port"] >= FIRST_PORT
    assert found["missing"] == ["/etc/postgresql-common/createcluster.d/dbkeeper.conf"]


@pytest.mark.parametrize(
    "path",
    [
        "etc/postgresql/15/quickstart/postgresql.conf",
        "etc/postgresql/17/quickstart/postgresql.conf",
        "var/lib/postgresql/15/quickstart/PG_VERSION",
        "etc/dbkeeper/quickstart.json",
        "etc/cron.d/dbkeeper-quickstart",
        "var/lib/dbkeeper/quickstart/repository/something",
    ],
)
def test_what_somebody_else_has_made_is_refused_and_named(tmp_path: Path, path: str) -> None:
    write(tmp_path / path)
    problem = look(tmp_path)["problem"]
    assert "no quickstart has made" in problem
    assert str(tmp_path) in problem


def test_its_own_is_known_by_the_mark(tmp_path: Path) -> None:
    write(tmp_path / "etc/postgresql/15/quickstart/postgresql.conf", "port = 1\n")
    write(tmp_path / "var/lib/dbkeeper/quickstart/mark.json")
    found = look(tmp_path)
    assert (found["problem"], found["ours"]) == ("", True)


def test_other_clusters_are_nobodys_business_but_their_ports_are_theirs(tmp_path: Path) -> None:
    free = look(tmp_path)["port"]
    write(tmp_path / "etc/postgresql/15/main/postgresql.conf", f"#port = 1\nport = {free}\t# theirs\n")
    write(tmp_path / "etc/postgresql/16/shop/conf.d/10-shop.conf", f"port='{free + 1}'\n")
    assert look(tmp_path)["problem"] == ""
    assert look(tmp_path)["port"] > free + 1


def test_a_port_that_somebody_listens_on_is_taken(tmp_path: Path) -> None:
    free = look(tmp_path)["port"]
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as listener:
        listener.bind(("127.0.0.1", free))
        listener.listen()
        assert look(tmp_path)["port"] > free


def test_too_small_a_disk_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    problem = look(tmp_path, needed_bytes=1 << 60)["problem"]
    assert "MB free" in problem and "are needed" in problem
