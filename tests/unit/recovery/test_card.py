# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The card in both languages: complete, aligned, and never without the figures that decide."""

from __future__ import annotations

import string
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Failed, Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery import words
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery.card import (
    done_card,
    error_card,
    plan_card,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.recovery.plan import make_plan

from . import world

LANGUAGES = ("en", "ja")


def result(**changes: Any) -> dict[str, Any]:
    made = make_plan(world.request(), world.proof(), world.backup(), world.state())
    return {"changed": True, "executed": False, "resumes": False, "plan": made.to_dict(), **changes}


@pytest.mark.parametrize("key", sorted(words.WORDS))
def test_every_text_is_in_every_language_with_the_same_values(key: str) -> None:
    texts = words.WORDS[key]
    assert len(texts) == len(words.LANGUAGES)
    assert all(texts)
    names = [
        {name for _dummy, name, _dummy, _dummy in string.Formatter().parse(text) if name} for text in texts
    ]
    assert all(found == names[0] for found in names)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_plan_card_has_what_decides(language: str) -> None:
    text = "\n".join(plan_card(result(), language))
    for figure in (
        "2026-11-21 12:20:00 Asia/Tokyo",  # as asked
        "2026-11-21T03:20:00.000000Z",  # in UTC
        "0/5000200",  # as resolved
        "20261121T030000Z-full",
        "000000010000000000000002",
        "000000010000000000000005",
        "2026-11-21T03:19:00.000000Z",  # the last commit that will be there
        "2026-11-21T03:21:00.000000Z",  # the first that will not
        f"{world.DATA}.before-",
        "3.1 GB",  # disk needed
    ):
        assert figure in text, figure


def test_japanese_is_japanese() -> None:
    english, japanese = plan_card(result(), "en"), plan_card(result(), "ja")
    assert len(english) == len(japanese)
    assert "失われるもの" in "\n".join(japanese)
    assert all(ord(character) < 0x3000 for line in english for character in line)


def test_an_unknown_language_is_english() -> None:
    assert plan_card(result(), "fr") == plan_card(result(), "en")


def test_nothing_to_do_and_resumed_say_so() -> None:
    nothing = plan_card(result(changed=False))
    assert "NOTHING TO DO" in nothing[1]
    # Whoever wants the data as it was then is not told that he has it.
    assert any("--again" in line for line in nothing)
    assert not any("--again" in line for line in plan_card(result()))
    assert "TO BE FINISHED" in plan_card(result(resumes=True))[1]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_outcome_shows_planned_beside_reached(language: str) -> None:
    made = result(changed=True, executed=True, evidence="/repo/evidence/x.json")
    made["record"] = {
        "reached": {"lsn": "0/5000200", "inclusive": False, "end_lsn": "0/5000200", "new_timeline": 2},
        "downtime_seconds": 0.34,
        "lost": {**made["plan"]["lost"], "wal_bytes": 5 << 20},
        "kept_directory": "/var/lib/postgresql/15/main.before-x",
        "archived_segment": "000000020000000000000005",
        "new_backup": "20261121T034000Z-full",
        "seconds": {"stage": 10.5, "replay": 3.25},
    }
    text = "\n".join(done_card(made, language))
    assert text.count("0/5000200") >= 2
    for figure in (
        "0.3 s",
        "stage 10.5, replay 3.25",
        "/repo/evidence/x.json",
        "dbkeeper undo --cluster main",
    ):
        assert figure in text, figure


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_refusal_says_that_nothing_was_touched(language: str) -> None:
    error = Refused(
        "segment-missing", attempted="plan", happened="0000…5 is missing", remedy="restore to 0/4000000"
    )
    text = "\n".join(error_card(error.to_dict(), "main", language))
    assert "segment-missing" in text
    assert "restore to 0/4000000" in text
    assert {"en": "NOTHING WAS TOUCHED", "ja": "何も変更していません"}[language] in text
    # What happened and what to do in the reader's language first.
    assert [line.split()[0] for line in text.splitlines()[3:5]] == {
        "en": ["Attempted", "Happened"],
        "ja": ["起きたこと", "対処"],
    }[language]


def test_a_failure_says_what_state_was_left_and_what_is_safe() -> None:
    state = {"running": True, "swapped": False, "kept_directory": None}
    error = Failed(
        "replay-server-died", attempted="replay", happened="it died", remedy="again", details={"state": state}
    )
    text = "\n".join(error_card(error.to_dict(), "main"))
    assert "the cluster is running, with its old data" in text
    assert "dbkeeper undo --cluster main --confirm main" in text
