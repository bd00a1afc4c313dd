# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The key ``copies`` of a description: what cannot be meant is refused, by its name."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.wishes_copies import read_copies
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused

SSH = {"identity_file": "/k", "known_hosts_file": "/h"}
AGE = {"tool": "age", "recipients": ["age1qqq"]}


def read(**entry: Any) -> Any:
    """One copy."""
    (wish,) = read_copies({"one": entry}, "test", None)
    return wish


@pytest.mark.parametrize(
    ("to", "kind"),
    [
        ("/mnt/x", "directory"),
        ("s3://bucket", "s3"),
        ("s3://bucket/a/b/", "s3"),
        ("ssh://u@h/p", "ssh"),
        ("sftp://u@h:22/p/q", "sftp"),
    ],
)
def test_places(to: str, kind: str) -> None:
    wish = read(to=to, **({"ssh": SSH} if kind in ("ssh", "sftp") else {}))
    assert (wish.kind, wish.required, wish.lag_seconds) == (kind, False, 3600)


@pytest.mark.parametrize(
    ("entry", "word"),
    [
        ({"to": "mnt/x"}, "absolute path"),
        ({"to": "ftp://u@h/p"}, "s3://"),
        ({"to": "s3://B/x"}, "s3://"),
        ({"to": "sftp://u@h/p"}, "ssh is missing"),
        ({"to": "/x", "ssh": SSH}, "not used"),
        ({"to": "/x", "endpoint": "https://h"}, "for s3:// only"),
        ({"to": "s3://bucket", "required": True}, "required is for"),
        ({"to": "/x", "required": True, "encryption": AGE}, "required is for"),
        ({"to": "/x", "required": "yes"}, "true or false"),
        ({"to": "ssh://u@h/p", "ssh": SSH, "retention": {}}, "deletes nothing"),
        ({"to": "/x", "retention": {"full_count": 0}}, "full_count"),
        ({"to": "/x", "retention": {"dayly": 3}}, "dayly"),
        ({"to": "/x", "retention": {"minimum": 0}}, "minimum"),
        ({"to": "/x", "encryption": {"tool": "zip", "recipients": ["a"]}}, "tool"),
        ({"to": "/x", "encryption": {"tool": "age", "recipients": []}}, "recipients"),
        ({"to": "/x", "encryption": {"tool": "age", "recipients": ["AGE-SECRET-KEY-1QQ"]}}, "private key"),
        ({"to": "/x", "encryption": {"tool": "age", "recipients": ["--help"]}}, "no public key"),
        ({"to": "/x", "encryption": {"tool": "gpg", "recipients": ["me@example.org"]}}, "absolute paths"),
        ({"to": "/x", "max_rate_kbytes": 1}, "max_rate_kbytes"),
        ({"to": "/x", "colour": "red"}, "colour"),
    ],
)
def test_what_cannot_be_meant(entry: dict[str, Any], word: str) -> None:
    with pytest.raises(Refused) as caught:
        read(**entry)
    assert caught.value.code == "config-malformed"
    assert word in caught.value.happened
    assert "AGE-SECRET" not in str(caught.value.to_dict())


def test_retention_has_the_keys_of_both_policies() -> None:
    wish = read(
        to="/x", retention={"full_count": 3, "window_seconds": 60, "daily": 2, "schema": {"daily": 9}}
    )
    assert (wish.retention.base.full_count, wish.retention.base.window_seconds) == (3, 60)
    assert wish.retention.dumps.of("dump").daily == 2 and wish.retention.dumps.of("schema").daily == 9
    assert read(to="/x", retention={"full_count": 3}).retention.dumps is None
