# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What is recorded for a restore holds no secret."""

from __future__ import annotations

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.backup.facts import (
    WITHHELD,
    without_secrets,
)


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("max_connections", "100", True),
        ("shared_preload_libraries", "pg_stat_statements", True),
        ("archive_command", "/usr/local/bin/dbkeeper archive-push --cluster main %p", True),
        ("primary_conninfo", "host=a password=b", False),
        ("ssl_passphrase_command", "echo x", False),
        ("myapp.api_key", "x", False),
        ("myapp.secret", "x", False),
        ("restore_command", "PGPASSWORD=x fetch %f", False),
        ("archive_command", "curl -T %p https://user:pw@host/", False),
        ("password_encryption", "", True),
        ("ssl_key_file", "server.key", True),
    ],
)
def test_secrets_are_withheld(name: str, value: str, kept: bool) -> None:
    assert without_secrets({name: value}) == {name: value if kept else WITHHELD}
