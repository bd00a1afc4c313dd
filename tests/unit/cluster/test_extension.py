# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Whether an extension is to be made."""

from __future__ import annotations

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.extension import plan_extension


@pytest.mark.parametrize(
    ("found", "in_recovery", "plan"),
    [
        (False, False, ['CREATE EXTENSION "uuid-ossp" SCHEMA public']),
        (True, False, []),
        (False, True, []),
        (True, True, []),
    ],
)
def test_what_is_missing_is_made_where_it_can_be(found: bool, in_recovery: bool, plan: list[str]) -> None:
    assert plan_extension("uuid-ossp", found, in_recovery=in_recovery) == plan
