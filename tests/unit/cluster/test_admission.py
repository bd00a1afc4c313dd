# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Who may come in at the door of a repository, on a real file system."""

from __future__ import annotations

import os
import pwd
import threading
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.admission import (
    Admission,
    admit,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused

ME = pwd.getpwuid(os.getuid()).pw_name
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOne"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAITwo"


def ask(place: Path, check: bool = False, **changes: Any) -> dict[str, Any]:
    given = {
        "root": f"{place}/repository",
        "cluster": "main",
        "host": "db1",
        "public_key": KEY,
        "access": "append",
    }
    return admit(
        Admission(**{**given, **changes}),
        user=ME,
        check=check,
        authorized_keys=f"{place}/ssh/authorized_keys",
        host_keys=f"{place}/etc/*.pub",
    )


def lines(root: Path) -> list[str]:
    return (root / "ssh" / "authorized_keys").read_text().splitlines()


def test_a_host_is_let_in_once(tmp_path: Path) -> None:
    first = ask(tmp_path)
    assert first["changed"] and first["executed"]
    assert lines(tmp_path) == [
        f'restrict,command="/usr/local/bin/dbkeeper door --root {tmp_path}/repository --cluster main'
        f" --access append --name db1 --key {sha256(KEY.encode()).hexdigest()[:16]}"
        f' --keys {tmp_path}/ssh/authorized_keys" {KEY} dbkeeper:main@db1'
    ]
    assert (tmp_path / "repository").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "repository" / "main" / "repository.json").is_file()
    second = ask(tmp_path)
    assert (second["changed"], second["plan"]) == (False, [])


def test_check_mode_foretells_and_makes_nothing(tmp_path: Path) -> None:
    foretold = ask(tmp_path, check=True)
    assert (foretold["changed"], foretold["executed"]) == (True, False)
    assert list(tmp_path.iterdir()) == []
    assert foretold["plan"] == ask(tmp_path)["plan"]


def test_lines_of_others_stay_where_they_are(tmp_path: Path) -> None:
    ask(tmp_path)
    ask(tmp_path, host="db2", public_key=OTHER)
    keys = tmp_path / "ssh" / "authorized_keys"
    keys.write_text("# by hand\n" + keys.read_text() + "ssh-ed25519 AAAAbyhand admin@desk\n")
    before = lines(tmp_path)
    assert ask(tmp_path, access="read")["changed"]
    after = lines(tmp_path)
    assert [before[0], *before[2:]] == [after[0], *after[2:]]
    assert "--access read" in after[1]


def test_one_key_has_one_line(tmp_path: Path) -> None:
    """sshd takes the first line of a key: an older one without a command would open everything."""
    keys = tmp_path / "ssh" / "authorized_keys"
    keys.parent.mkdir()
    keys.write_text(f"{KEY} somebody@anywhere\n")
    ask(tmp_path)
    assert [line.partition(",")[0] for line in lines(tmp_path)] == ["restrict"]


def test_a_host_with_a_new_key_loses_the_old_one(tmp_path: Path) -> None:
    ask(tmp_path)
    ask(tmp_path, public_key=OTHER)
    assert len(lines(tmp_path)) == 1
    assert OTHER in lines(tmp_path)[0]


def test_clusters_of_one_host_have_a_line_each(tmp_path: Path) -> None:
    ask(tmp_path)
    ask(tmp_path, cluster="second", public_key=OTHER)
    assert [line.split()[-1] for line in lines(tmp_path)] == ["dbkeeper:main@db1", "dbkeeper:second@db1"]


def test_a_host_is_kept_out_and_what_is_stored_stays(tmp_path: Path) -> None:
    ask(tmp_path)
    kept = tmp_path / "repository" / "main" / "base" / "20261121T031500Z-full"
    kept.mkdir()
    gone = ask(tmp_path, access="none", public_key="")
    assert gone["changed"] and lines(tmp_path) == []
    assert kept.is_dir()
    assert not ask(tmp_path, access="none", public_key="")["changed"]


def test_two_hosts_at_once(tmp_path: Path) -> None:
    """Ansible lets in many hosts at the same time; none of them may be lost."""
    barrier = threading.Barrier(8)

    def come(number: int) -> None:
        barrier.wait()
        ask(tmp_path, host=f"db{number}", public_key=f"{KEY}{number}")

    hosts = [threading.Thread(target=come, args=(number,)) for number in range(8)]
    for host in hosts:
        host.start()
    for host in hosts:
        host.join()
    assert sorted(line.split()[-1] for line in lines(tmp_path)) == [f"dbkeeper:main@db{n}" for n in range(8)]


def test_host_keys_are_told_without_comments(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "ssh_host_ed25519_key.pub").write_text(f"{KEY} root@backup1\n")
    assert ask(tmp_path)["host_keys"] == [KEY]


@pytest.mark.parametrize(
    "changes",
    [
        {"root": '/srv/a"b'},
        {"root": "/srv/a b"},
        {"root": "/srv/$(reboot)"},
        {"root": "relative"},
        {"root": "/srv/repository\n"},
        {"cluster": "../main"},
        {"cluster": "main --access append"},
        {"host": "db1 ssh-rsa AAAA"},
        {"host": "db1\nssh-rsa AAAA x"},
        {"public_key": "no key"},
        {"public_key": f'command="sh" {KEY}'},
        {"public_key": f"{KEY}\n{OTHER}"},
        {"command": "/usr/bin/env dbkeeper"},
    ],
)
def test_what_would_need_quoting_is_refused(tmp_path: Path, changes: dict[str, str]) -> None:
    with pytest.raises(Refused) as caught:
        ask(tmp_path, **changes)
    assert caught.value.code == "admission-malformed"
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_user_is_named(tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        admit(Admission(f"{tmp_path}/r", "main", "db1", KEY, "append"), user="nobody-here", check=False)
    assert caught.value.code == "user-unknown"
