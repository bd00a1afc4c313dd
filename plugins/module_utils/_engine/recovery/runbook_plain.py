# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The runbook's commands for PostgreSQL's own programs. Whatever a path has in it stays a path: these are pasted."""

from __future__ import annotations

import os
import shlex

from ..repository.catalog import Backup
from ..repository.fetch import tablespace_lines
from .plan import TEMPLATE_SETTINGS


def unpack(backup: Backup) -> list[str]:
    """The backup beside the data directory, and what PostgreSQL itself says of it."""
    lines = [
        'mkdir -m 0700 "$WORK" "$WORK"/data "$WORK"/socket',
        'zstd -q -d -c "$BASE"/base.tar.zst | tar -x -C "$WORK"/data',
    ]
    targets = {}
    for tablespace in backup.tablespaces:
        targets[tablespace.oid] = f"{tablespace.path}.by-hand"
        place = shlex.quote(targets[tablespace.oid])
        lines += [
            f"mkdir -m 0700 {place}",
            f'zstd -q -d -c "$BASE"/{tablespace.oid}.tar.zst | tar -x -C {place}',
            f'ln -sfn {place} "$WORK"/data/pg_tblspc/{tablespace.oid}',
        ]
    lines.append('"$BIN"/pg_verifybackup -n -m "$BASE"/backup_manifest "$WORK"/data')
    if targets:
        # Afterwards: the manifest knows the map as it was.
        content = shlex.quote(os.fsdecode(tablespace_lines(targets)))
        lines.append(f'printf %s {content} > "$WORK"/data/tablespace_map')
    return lines


def restore_wal() -> list[str]:
    """A restore_command that ends a recovery only behind the last archived segment (faults B01 to B09)."""
    return [
        'T=$(printf %08X "$TIMELINE")',
        'LAST=$(ls "$ARCHIVE/$T" | sed -n "s/^\\([0-9A-F]\\{24\\}\\)\\(\\.zst\\)\\{0,1\\}$/\\1/p" | sort | tail -n 1)',
        '{ test -x "$ARCHIVE" && test ! -e "$ARCHIVE/$T"; } || ls "$ARCHIVE/$T" > /dev/null || LAST=unreadable',
        # As they are written between apostrophes.
        """R=$(printf %s "$REPOSITORY" | sed "s/'/'\\\\\\\\''/g")""",
        """A=$(printf %s "$ARCHIVE" | sed "s/'/'\\\\\\\\''/g")""",
        'cat > "$WORK"/restore-wal <<END',
        "#!/bin/sh",
        "# restore-wal NAME PATH: 0 delivered, 1 there is none, 255 everything else; the server stops at 255",
        "test -e '$R/repository.json' || exit 255",
        "# What may not be looked into is not empty.",
        "FOLDER='$A'/\\$(printf %.8s \"\\$1\")",
        "for PLACE in '$A' \"\\$FOLDER\"; do",
        '  test ! -e "\\$PLACE" || { test -r "\\$PLACE" && test -x "\\$PLACE"; } || exit 255',
        "done",
        'case "\\$1" in',
        "*.history)",
        "  test -e '$A'/\"\\$1\" || exit 1",
        '  cp \'$A\'/"\\$1" "\\$2" || exit 255',
        "  exit 0 ;;",
        "esac",
        'if test -e "\\$FOLDER/\\$1.zst"; then',
        '  zstd -q -d -c "\\$FOLDER/\\$1.zst" > "\\$2" || exit 255',
        "  exit 0",
        "fi",
        'if test -e "\\$FOLDER/\\$1"; then',
        '  cp "\\$FOLDER/\\$1" "\\$2" || exit 255',
        "  exit 0",
        "fi",
        "test \"\\$1\" != '$LAST' || exit 255",
        "# Behind the last one of this timeline, and of no newer timeline: there it really ends.",
        'test "\\$(printf \'%s\\n%s\\n\' "\\$1" \'$LAST\' | LC_ALL=C sort | tail -n 1)" = "\\$1" || exit 255',
        'test "\\$(printf %.8s "\\$1")" = \'$T\' || exit 255',
        "exit 1",
        "END",
        'chmod 0700 "$WORK"/restore-wal',
        'echo "the archive ends with $LAST"',
    ]


def configure(work: str, backup: Backup) -> list[str]:
    """The staged server's own configuration: nothing listens, nothing is archived yet, one target."""
    limits = {name: str(backup.settings[name]) for name in TEMPLATE_SETTINGS if name in backup.settings}
    command = f"{shlex.quote(f'{work}/restore-wal').replace('%', '%%')} %f %p"
    return [
        'mv "$WORK"/data/postgresql.auto.conf "$WORK"/postgresql.auto.conf',
        ': > "$WORK"/data/postgresql.auto.conf',
        'rm -f "$WORK"/data/standby.signal',
        'echo "local all all trust" > "$WORK"/by-hand_hba.conf',
        ': > "$WORK"/by-hand_ident.conf',
        "cat > \"$WORK\"/by-hand.conf <<'END'",
        "listen_addresses = ''",
        f"unix_socket_directories = {_value(_listed(f'{work}/socket'))}",
        f"hba_file = {_value(f'{work}/by-hand_hba.conf')}",
        f"ident_file = {_value(f'{work}/by-hand_ident.conf')}",
        *(f"{name} = {value}" for name, value in limits.items() if value.isdigit()),
        "wal_level = replica",
        "archive_mode = on",
        "archive_command = ''",
        "hot_standby = off",
        "shared_preload_libraries = ''",
        "max_logical_replication_workers = 0",
        f"restore_command = {_value(command)}",
        "recovery_target_action = promote",
        "# recovery_target_time = '2026-11-21 03:04:05+09'",
        "END",
        'echo "recovery_target_timeline = $TIMELINE" >> "$WORK"/by-hand.conf',
        'touch "$WORK"/data/recovery.signal',
    ]


def with_config_file(path: str) -> str:
    """What pg_ctl is given for the server, which it starts by a shell."""
    return f"-o {shlex.quote(f'-c config_file={shlex.quote(path)}')}"


def _value(text: str) -> str:
    """A value in postgresql.conf."""
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def _listed(path: str) -> str:
    """One path where the server reads a list of them."""
    return path if path.replace("/", "").replace("-", "").replace(".", "").isalnum() else f'"{path}"'
