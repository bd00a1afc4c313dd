# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The runbook's text: every place filled in, in both languages, for every kind of service and repository."""

from __future__ import annotations

import re
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


def test_without_a_backup_there_is_nothing_to_unpack() -> None:
    empty = RunbookFacts(**{**facts().__dict__, "backups": (), "windows": ()})
    assert commands(runbook(empty, "en"))["plain"] == []


def test_every_paragraph_is_in_both_languages() -> None:
    for key, (english, japanese) in WORDS.items():
        assert not JAPANESE.search(english), key
        places = [sorted(re.findall(r"\{(\w+)\}", words)) for words in (english, japanese)]
        assert set(places[1]) <= set(places[0]) and (JAPANESE.search(japanese) or english == japanese), key
