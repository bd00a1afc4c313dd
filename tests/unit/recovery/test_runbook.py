# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The runbook's text: every place filled in, in both languages, for every kind of service and repository."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery.runbook import (
    SECTIONS,
    RunbookFacts,
    commands,
    runbook,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery.runbook_words import WORDS

from . import world

JAPANESE = re.compile("[぀-ヿ一-鿿]")


def facts(**changes: Any) -> RunbookFacts:
    config = world.config(**changes)
    return RunbookFacts(
        config=config,
        config_path="/etc/dbkeeper/main.json",
        configuration={"format": 1, "cluster": "main"},
        repository_path="/var/lib/dbkeeper/repository/main",
        owner="postgres",
        group="postgres",
        made_at="2026-11-21T03:00:00Z",
        host="db1",
        system_id=str(world.SYSTEM),
        backups=(world.with_tablespace(),),
        windows=(
            {"timeline": 3, "from": "a", "until": "2026-11-21T03:00:00Z", "backups": [world.backup().label]},
        ),
    )


ELSEWHERE = {
    "repository": "ssh://dbkeeper@repo1/var/lib/dbkeeper/repository",
    "ssh": {
        "identity_file": "/etc/dbkeeper/keys/main",
        "known_hosts_file": "/etc/dbkeeper/keys/known_hosts",
    },
}


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize(
    "changes", [{}, {"service": {"manager": "pg_ctlcluster"}}, {"config_file": "/etc/x.conf"}, ELSEWHERE]
)
def test_every_section_is_there_and_every_place_is_filled_in(changes: dict[str, Any], language: str) -> None:
    lines = runbook(facts(**changes), language)
    text = "\n".join(lines)
    prose = re.sub(r"```sh\n.*?\n```", "", text, flags=re.S)
    assert not re.search(r"\{[a-z_]+\}", prose)
    assert [name for name in SECTIONS if f'<a id="{name}"></a>' not in text] == []
    assert bool(JAPANESE.search(prose)) == (language == "ja")
    assert commands(lines) == commands(runbook(facts(**changes), "ja"))


def test_commands_name_what_is_configured() -> None:
    found = commands(runbook(facts(), "en"))
    assert found["here"][1] == '/usr/local/bin/dbkeeper plan --cluster main "$@"'
    assert found["here"][2].endswith("--confirm main")
    plain = "\n".join(found["plain"])
    assert "TIMELINE=3" in plain and "/mnt/fast/space.by-hand" in plain
    assert "max_connections = 100" in plain and "exit 255" in plain
    assert found["plain"][-1] == "systemctl start postgresql@15-main.service"
    assert "rescue" not in "\n".join(runbook(facts(**ELSEWHERE), "en"))


#: What sed, sh, postgresql.conf and a list of paths take for something of theirs.
ODD = """it's 100% "mine", $(touch stolen) & | \\ `id` 's"""


def sh(*blocks: str) -> None:
    subprocess.run(["sh", "-e", "-u", "-c", "\n".join(blocks)], check=True, capture_output=True)


def test_the_map_of_tablespaces_is_written_whatever_is_in_their_paths(tmp_path: Path) -> None:
    paths = [f"/mnt/{ODD}", "/mnt/a|b&c", "/mnt/two\nEND\nlines"]
    spaces = [
        replace(world.with_tablespace(path).tablespaces[0], oid=20000 + n) for n, path in enumerate(paths)
    ]
    data = str(tmp_path / "main")
    known = replace(facts(data_directory=data), backups=(world.backup(tablespaces=tuple(spaces)),))
    plain = commands(runbook(known, "en"))["plain"]
    (tmp_path / "main.by-hand" / "data").mkdir(parents=True)
    written = tmp_path / "main.by-hand" / "data" / "tablespace_map"
    written.write_text("20000 /mnt/as it was\n")
    verified, mapped = plain[1].split('"$BIN"/pg_verifybackup')
    assert "tablespace_map" not in verified
    sh(plain[0], mapped.partition("\n")[2])
    # As PostgreSQL reads it: a line for each, line breaks and backslashes escaped.
    found = re.findall(r"^(\d+) ((?:[^\\\n]|\\[\s\S])*)\n", written.read_text(), flags=re.M)
    there = {int(oid): re.sub(r"\\([\s\S])", r"\1", path) for oid, path in found}
    assert there == {one.oid: f"{one.path}.by-hand" for one in spaces}


def test_the_configuration_by_hand_names_the_paths_as_they_are(tmp_path: Path) -> None:
    data = tmp_path / ODD / "main"
    backup = world.backup(settings={"max_connections": "100", "max_wal_senders": "5\nEND\ntouch stolen"})
    plain = commands(runbook(replace(facts(data_directory=str(data)), backups=(backup,)), "en"))["plain"]
    work = Path(f"{data}.by-hand")
    (work / "data").mkdir(parents=True)
    (work / "data" / "postgresql.auto.conf").write_text("")
    sh(plain[0], plain[3])
    lines = (work / "by-hand.conf").read_text().splitlines()
    said = dict(line.split(" = ", 1) for line in lines if not line.startswith("#"))
    value = {
        name: text[1:-1].replace("''", "'").replace("\\\\", "\\")
        for name, text in said.items()
        if text[0] == "'"
    }
    assert value["hba_file"] == f"{work}/by-hand_hba.conf"
    assert value["unix_socket_directories"] == f'"{work}/socket"'
    assert said["max_connections"] == "100" and "max_wal_senders" not in said
    assert said["recovery_target_timeline"] == "3"
    # The server puts names in the place of %f and %p, and one sign in the place of two; then a shell reads it.
    (work / "restore-wal").write_text(f'#!/bin/sh\necho "$1 $2" > "{tmp_path}/asked"\n')
    (work / "restore-wal").chmod(0o700)
    places = {"%%": "%", "%f": "00000002.history", "%p": "pg_wal/RECOVERYHISTORY"}
    sh(re.sub("%[%fp]", lambda found: places[found[0]], value["restore_command"]))
    assert (tmp_path / "asked").read_text() == "00000002.history pg_wal/RECOVERYHISTORY\n"


def test_without_a_backup_there_is_nothing_to_unpack() -> None:
    empty = RunbookFacts(**{**facts().__dict__, "backups": (), "windows": ()})
    assert commands(runbook(empty, "en"))["plain"] == []


def test_every_paragraph_is_in_both_languages() -> None:
    for key, (english, japanese) in WORDS.items():
        assert not JAPANESE.search(english), key
        places = [sorted(re.findall(r"\{(\w+)\}", words)) for words in (english, japanese)]
        assert set(places[1]) <= set(places[0]) and (JAPANESE.search(japanese) or english == japanese), key
