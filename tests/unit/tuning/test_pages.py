# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The pages say what the code does: `python tools/tuning_pages.py` after a change of the rules."""

from __future__ import annotations

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.rules import BY_NAME
from tools.tuning_pages import PAGES, RULES, page


@pytest.mark.parametrize("language", PAGES)
def test_pages_are_up_to_date(language: str) -> None:
    assert PAGES[language].read_text(encoding="utf-8") == page(language)


def test_every_rule_has_words() -> None:
    assert list(RULES) == list(BY_NAME)
