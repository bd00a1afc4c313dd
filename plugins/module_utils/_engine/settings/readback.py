# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a running server makes of the files on disk, before and after it takes them over.

``pg_file_settings``, ``pg_hba_file_rules`` and ``pg_ident_file_mappings`` read the files anew each time they
are asked: they tell what a reload would do (manual, 54).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.psql import query

#: A line that is understood, and has no effect while TLS or GSSAPI is off: a word, not a fault (hba.c).
_HARMLESS = "cannot match because"
#: Where the server is, which a file cannot say: given on its command line by every service manager.
_OF_THE_PLACE = ("config_file", "data_directory", "hba_file", "ident_file", "external_pid_file")

# What was taken out and waits for a restart has neither file nor name there, and words that are never translated
# (guc-file.l, guc.c: ProcessConfigFileInternal).
_FILE_FAULTS = """
SELECT coalesce(f.sourcefile, ''), coalesce(f.sourceline, 0), coalesce(f.name, ''), f.error
FROM pg_file_settings f LEFT JOIN pg_settings s ON lower(s.name) = lower(f.name)
WHERE f.error IS NOT NULL AND coalesce(s.context, '') <> 'postmaster'
      AND NOT (f.sourcefile IS NULL AND f.name IS NULL
               AND f.error LIKE 'parameter "%" cannot be changed without restarting the server')
ORDER BY f.seqno
"""
# Some refused lines have no words, or only those of their being without effect; what tells is the missing type.
_HBA_FAULTS = """
SELECT :path, line_number,
       CASE WHEN type IS NULL AND coalesce(error, '') LIKE ANY (ARRAY['', '%cannot match because%'])
            THEN 'the server does not take this line' ELSE error END
FROM pg_hba_file_rules WHERE error IS NOT NULL OR type IS NULL
"""
# All in one, because each question costs the start of a program.
_SERVED = """
SELECT 'pending', name, current_setting(name) FROM pg_settings WHERE pending_restart
UNION ALL SELECT 'given', name, current_setting(name) FROM pg_settings WHERE source = 'command line'
UNION ALL SELECT 'client', pid::text, '' FROM pg_stat_activity
          WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
UNION ALL SELECT 'replicating', rolname::text, '' FROM pg_roles WHERE rolcanlogin AND rolreplication
ORDER BY 1, 2
"""


@dataclass(frozen=True)
class FileFault:
    """One line that the server would not take over."""

    path: str
    number: int
    name: str
    text: str

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {"file": self.path, "line": self.number, "name": self.name, "words": self.text}


@dataclass(frozen=True)
class Served:
    """What a running server says of itself.

    ``pending`` are settings that wait for a restart, with the value that is in effect until then; ``clients``
    how many are connected, without ourselves; ``command_line`` what was given to it when it was started, which
    no file can change; ``replicating`` the roles that may log in and replicate.
    """

    pending: Mapping[str, str] = field(default_factory=dict)
    clients: int = 0
    command_line: Mapping[str, str] = field(default_factory=dict)
    replicating: tuple[str, ...] = ()


def where_it_runs(config: ClusterConfig) -> ClusterConfig:
    """The same cluster at the socket that its server has now: a changed port holds from the next start on.

    Source: lines 4 and 5 of postmaster.pid (LOCK_FILE_LINE_PORT, LOCK_FILE_LINE_SOCKET_DIR).
    """
    try:
        with open(f"{config.data_directory}/postmaster.pid", encoding="utf-8", errors="replace") as handle:
            lines = [line.strip() for line in handle.read().splitlines()]
    except OSError:
        return config
    if len(lines) < 5 or not lines[3].isdigit() or not lines[4].startswith("/"):
        return config
    return dataclasses.replace(config, port=int(lines[3]), socket_directory=lines[4])


def settings_faults(config: ClusterConfig) -> list[FileFault]:
    """Settings on disk that a reload would not take over. What waits for a restart is no fault."""
    rows = query(config, _FILE_FAULTS)
    return [FileFault(str(path), int(str(line)), str(name), str(error)) for path, line, name, error in rows]


def access_faults(config: ClusterConfig) -> tuple[list[FileFault], list[FileFault]]:
    """Lines of the hba and ident files that a server refuses, and those that are only without effect."""
    hba = "file_name" if config.major >= 16 else "current_setting('hba_file')"
    found = _rows(config, _HBA_FAULTS.replace(":path", hba))
    if config.major >= 15:
        ident = "file_name" if config.major >= 16 else "current_setting('ident_file')"
        found += _rows(
            config, f"SELECT {ident}, line_number, error FROM pg_ident_file_mappings WHERE error IS NOT NULL"
        )
    harmless = [fault for fault in found if _HARMLESS in fault.text]
    return [fault for fault in found if fault not in harmless], harmless


def _rows(config: ClusterConfig, sql: str) -> list[FileFault]:
    return [FileFault(str(path), int(str(line)), "", str(error)) for path, line, error in query(config, sql)]


def served(config: ClusterConfig) -> Served:
    """Ask a running server about itself."""
    rows = [(str(kind), str(name), str(value)) for kind, name, value in query(config, _SERVED)]
    given = {name: value for kind, name, value in rows if kind == "given" and name not in _OF_THE_PLACE}
    return Served(
        pending={name: value for kind, name, value in rows if kind == "pending"},
        clients=sum(kind == "client" for kind, _name, _value in rows),
        command_line=given,
        replicating=tuple(name for kind, name, _value in rows if kind == "replicating"),
    )


def loaded_at(config: ClusterConfig) -> str:
    """When the server has read its files last, in seconds since 1970."""
    return str(query(config, "SELECT extract(epoch FROM pg_conf_load_time())")[0][0])
