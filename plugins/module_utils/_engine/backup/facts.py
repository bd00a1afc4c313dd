# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a restore must know and the copy does not say: settings that differ from the default, locales, extensions.

Files outside the data directory are not copied: they hold secrets. Names and harmless values are recorded.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.psql import query

#: Values that may hold a password, a key, or the way to one. The names are kept, the values are not.
_SECRET = re.compile(
    r"password|passphrase|passwd|secret|token|credential|conninfo|_key$|api_?key|access_?key", re.I
)
#: Commands may carry a password in their text.
_SECRET_VALUE = re.compile(r"passw|passphrase|secret|token|://[^/ ]+:[^/ ]+@", re.I)
WITHHELD = "(not recorded)"

_CLUSTER = """
SELECT json_build_object(
  'changed', (SELECT json_object_agg(name, current_setting(name)) FROM pg_settings
     WHERE source NOT IN ('default', 'override', 'client', 'session', 'environment variable')
        OR name IN ('data_directory', 'config_file', 'hba_file', 'ident_file')),
  'configuration_files', (SELECT coalesce(json_agg(DISTINCT sourcefile), '[]'::json) FROM pg_settings
     WHERE sourcefile IS NOT NULL),
  'databases', (SELECT json_agg(json_build_object('name', datname, 'encoding', pg_encoding_to_char(encoding),
     'collate', datcollate, 'ctype', datctype, 'owner', pg_get_userbyid(datdba)) ORDER BY oid) FROM pg_database),
  'shared_preload_libraries', current_setting('shared_preload_libraries')
)
"""
_EXTENSIONS = "SELECT coalesce(json_object_agg(extname, extversion), '{}'::json) FROM pg_extension"


def restore_facts(config: ClusterConfig) -> dict[str, Any]:
    """Facts of the running server. Raises :class:`Failed` (``server-unreachable``, ``sql-failed``)."""
    facts: dict[str, Any] = json.loads(str(query(config, _CLUSTER)[0][0]))
    facts["changed"] = without_secrets(facts["changed"])
    for database in facts["databases"]:
        database["extensions"] = _extensions(config, database["name"])
    return facts


def without_secrets(settings: dict[str, str | None]) -> dict[str, str | None]:
    """The same names; values that may be secret are withheld."""
    return {
        name: WITHHELD if value and (_SECRET.search(name) or _SECRET_VALUE.search(value)) else value
        for name, value in settings.items()
    }


def _extensions(config: ClusterConfig, database: str) -> dict[str, str]:
    if database == "template0":
        # It takes no connections, and has what initdb gave it.
        return {}
    found: dict[str, str] = json.loads(str(query(config, _EXTENSIONS, database=database)[0][0]))
    return found
