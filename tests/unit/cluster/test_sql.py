# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""libpq's parameters from the options that modules take."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.sql import connection_parameters

BARE = {"dbname": "postgres", "application_name": "dbkeeper", "connect_timeout": "10"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, BARE),
        ({"login_host": "", "login_password": None, "login_port": 5433}, {**BARE, "port": "5433"}),
        ({"login_unix_socket": "/run/s", "login_host": ""}, {**BARE, "host": "/run/s"}),
        ({"login_unix_socket": "/run/s", "login_host": "db1"}, {**BARE, "host": "db1"}),
        ({"login_db": "shop", "ssl_mode": "require"}, {**BARE, "dbname": "shop", "sslmode": "require"}),
        ({"connect_timeout": 3, "connect_params": {"connect_timeout": 4}}, {**BARE, "connect_timeout": "4"}),
    ],
)
def test_parameters(options: dict[str, Any], expected: dict[str, str]) -> None:
    assert connection_parameters(options) == expected
