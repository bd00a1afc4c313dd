# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A copy that fails, as a person reads it."""

from __future__ import annotations

from typing import Any

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.words import copied, listed

ERROR = {"code": "copy-missing", "happened": "copy.json is not in /mnt", "remedy": "Mount it."}
FAILED: dict[str, Any] = {
    "copies": {
        "disk": {
            "to": "/mnt",
            "sent": {},
            "plan": {},
            "changed": False,
            "error": ERROR,
            "failures": [],
            "expired": {},
        }
    }
}


def test_why_a_copy_fails_is_said_in_the_readers_language() -> None:
    assert copied(FAILED, "en") == [
        "disk → /mnt: FAILED, copy-missing: copy.json is not in /mnt",
        "  Mount it.",
    ]
    first, *remedies = copied(FAILED, "ja")
    assert first.startswith("disk → /mnt: 失敗: コピー先が未マウント")
    assert first.endswith("(copy-missing: copy.json is not in /mnt)")
    assert remedies and "Mount it." not in "".join(remedies)
    assert listed(FAILED, "ja") == [first]
