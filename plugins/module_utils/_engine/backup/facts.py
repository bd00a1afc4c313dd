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
from ..cluster.target import libc_version, machine

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
  'shared_preload_libraries', current_setting('shared_preload_libraries'),
  'subscriptions', (SELECT coalesce(json_agg(subname ORDER BY subname), '[]'::json)
     FROM pg_subscription WHERE subenabled),
  'build', json_build_object('block_size', current_setting('block_size'),
     'wal_block_size', current_setting('wal_block_size'),
     'control_version', (SELECT pg_control_version::text FROM pg_control_system()),
     'catalog_version', (SELECT catalog_version_no::text FROM pg_control_system()))
)
"""
#: What only the database itself can tell. Columns that not every major has are read by way of JSON.
_DATABASE = """
SELECT json_build_object(
  'extensions', (SELECT coalesce(json_object_agg(extname, extversion), '{}'::json) FROM pg_extension),
  'libraries', (SELECT coalesce(json_agg(DISTINCT probin ORDER BY probin), '[]'::json) FROM pg_proc
     WHERE probin IS NOT NULL),
  'foreign_servers', (SELECT coalesce(json_agg(srvname ORDER BY srvname), '[]'::json) FROM pg_foreign_server),
  'provider', (SELECT coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') FROM pg_database AS d
     WHERE datname = current_database()),
  'locale', (SELECT coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale', datcollate)
     FROM pg_database AS d WHERE datname = current_database()),
  'version', (SELECT to_jsonb(d) ->> 'datcollversion' FROM pg_database AS d WHERE datname = current_database()),
  'collations', (SELECT coalesce(json_agg(found), '[]'::json) FROM (
     SELECT c.collname AS name, c.collprovider AS provider, pg_collation_actual_version(c.oid) AS version,
       coalesce(to_jsonb(c) ->> 'colllocale', to_jsonb(c) ->> 'colliculocale', c.collcollate) AS locale,
       count(DISTINCT i.indexrelid) AS indexes,
       (array_agg(DISTINCT i.indexrelid::regclass::text))[1:5] AS examples
     FROM pg_index AS i CROSS JOIN LATERAL unnest(i.indcollation) AS used(oid)
       JOIN pg_collation AS c ON c.oid = used.oid
     WHERE i.indexrelid >= 16384 GROUP BY c.oid, c.collname ORDER BY c.collname) AS found)
)
"""
_JOBS = "SELECT count(*) FROM cron.job WHERE active"


def restore_facts(config: ClusterConfig) -> dict[str, Any]:
    """Facts of the running server. Raises :class:`Failed` (``server-unreachable``, ``sql-failed``)."""
    facts: dict[str, Any] = json.loads(str(query(config, _CLUSTER)[0][0]))
    facts["changed"] = without_secrets(facts["changed"])
    facts["build"] |= {"machine": machine(config.program("postgres")), "libc": libc_version()}
    for database in facts["databases"]:
        # template0 takes no connections, and has what initdb gave it.
        if database["name"] == "template0":
            database["extensions"] = {}
            continue
        database |= json.loads(str(query(config, _DATABASE, database=database["name"])[0][0]))
        if "pg_cron" in database["extensions"]:
            database["jobs"] = int(str(query(config, _JOBS, database=database["name"])[0][0]))
    return facts


def without_secrets(settings: dict[str, str | None]) -> dict[str, str | None]:
    """The same names; values that may be secret are withheld."""
    return {
        name: WITHHELD if value and (_SECRET.search(name) or _SECRET_VALUE.search(value)) else value
        for name, value in settings.items()
    }
