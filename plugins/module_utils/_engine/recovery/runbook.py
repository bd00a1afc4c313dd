# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The runbook: how this very cluster is restored by hand, from its real configuration and repository.

Pure: facts in, Markdown out. The commands are the same in every language, and are meant to be pasted as they stand;
a test takes them out of the text and runs them.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..cluster.config import DIRECTORY, ClusterConfig
from ..cluster.service import start_commands
from ..repository.catalog import Backup
from .runbook_plain import configure, restore_wal, unpack, with_config_file
from .runbook_words import text

RESCUE = "rescue"
PROGRAM = "dbkeeper.pyz"
#: In this order; the names are also the anchors by which commands are found.
SECTIONS = ("facts", "look", "here", "check", "undo", "elsewhere", "program", "plain")


@dataclass(frozen=True)
class RunbookFacts:
    """What the text is made of. ``configuration`` is the file's content; ``windows`` as ``info`` has them."""

    config: ClusterConfig
    config_path: str
    configuration: Mapping[str, Any]
    repository_path: str
    owner: str
    group: str
    made_at: str
    host: str
    system_id: str | None = None
    backups: tuple[Backup, ...] = ()
    windows: tuple[Mapping[str, Any], ...] = ()
    key_files: tuple[str, ...] = ()

    @property
    def whole(self) -> Backup | None:
        """The newest full backup: the one that PostgreSQL's own programs unpack without more."""
        fulls = [backup for backup in self.backups if backup.usable and backup.kind == "full"]
        return fulls[-1] if fulls else None

    @property
    def timeline(self) -> int:
        """The newest timeline that the newest full backup leads to."""
        if self.whole is None:
            return 1
        found = [window["timeline"] for window in self.windows if self.whole.label in window["backups"]]
        return int(max(found, default=self.whole.timeline or 1))

    @property
    def which(self) -> str:
        """How a command is told which cluster is meant."""
        usual = f"{DIRECTORY}/{self.config.cluster}.json"
        if self.config_path == usual:
            return f"--cluster {self.config.cluster}"
        return f"--config {shlex.quote(self.config_path)}"

    @property
    def rescue(self) -> str:
        """Where the repository keeps the program, the configuration and this text."""
        return f"{self.repository_path}/{RESCUE}"


def runbook(facts: RunbookFacts, language: str) -> list[str]:
    """The whole text, as lines of Markdown."""
    return _Page(facts, language).whole()


def commands(lines: Iterable[str]) -> dict[str, list[str]]:
    """Section -> its blocks of shell commands."""
    found: dict[str, list[str]] = {name: [] for name in SECTIONS}
    section = ""
    block: list[str] | None = None
    for line in lines:
        if line.startswith('<a id="'):
            section = line.split('"')[1]
        elif line == "```sh":
            block = []
        elif line == "```" and block is not None:
            found[section].append("\n".join(block))
            block = None
        elif block is not None:
            block.append(line)
    return found


class _Page:
    """The text as it grows."""

    def __init__(self, facts: RunbookFacts, language: str) -> None:
        self.facts = facts
        self.language = language
        self.lines: list[str] = []
        config = facts.config
        self.keeper = shlex.quote(config.command)
        self.folder = shlex.quote(os.path.dirname(config.command))
        self.parent = os.path.dirname(config.data_directory)
        self.values: dict[str, object] = {
            "cluster": config.cluster,
            "version": config.version,
            "data_directory": config.data_directory,
            "config_file": config.config_file or f"{config.data_directory}/postgresql.conf",
            "owner": facts.owner,
            "repository": config.repository,
            "repository_path": facts.repository_path,
            "rescue": facts.rescue,
            "state": config.state_directory,
            "config_path": facts.config_path,
            "command": config.command,
            "archive_command": f"{config.command} archive-push {facts.which} %p",
            "host": facts.host,
            "made_at": facts.made_at,
            "service": config.service.unit or config.service.manager,
        }

    def whole(self) -> list[str]:
        self.lines += [f"# {self.text('title')}", "", self.text("intro", copy=self.copy()), ""]
        parts = (
            self.section_facts,
            self.section_look,
            self.section_here,
            self.section_check,
            self.section_undo,
            self.section_elsewhere,
            self.section_program,
            self.section_plain,
        )
        for name, part in zip(SECTIONS, parts):
            self.lines += [f'<a id="{name}"></a>', "", f"## {self.text(name + '_title')}", ""]
            part()
        return self.lines

    def copy(self) -> str:
        """Where else this text is."""
        return "" if self.facts.config.repository_is_elsewhere else self.text("copy")

    # -- pieces --------------------------------------------------------------------------------------------

    def text(self, key: str, **more: object) -> str:
        return text(key, self.language).format(**{**self.values, **more})

    def say(self, key: str, **more: object) -> None:
        self.lines += [self.text(key, **more), ""]

    def code(self, *lines: str) -> None:
        self.lines += ["```sh", *lines, "```", ""]

    def ask(self, command: str, *options: str) -> str:
        """A dbkeeper command line."""
        return " ".join((self.keeper, command, self.facts.which, *options))

    # -- sections ------------------------------------------------------------------------------------------

    def section_facts(self) -> None:
        facts, config = self.facts, self.facts.config
        rows = [
            ("fact_data", config.data_directory),
            ("fact_configuration", str(self.values["config_file"])),
            ("fact_programs", f"{config.bin_directory} (PostgreSQL {config.version})"),
            ("fact_owner", facts.owner),
            ("fact_service", f"{config.service.manager} {config.service.unit or ''}".strip()),
            ("fact_socket", f"{config.socket_directory}, {config.port}"),
            ("fact_repository", config.repository),
            ("fact_keeper", f"{config.command}, {facts.config_path}"),
            ("fact_state", config.state_directory),
            ("fact_system", facts.system_id or "-"),
        ]
        rows += [("fact_key", path) for path in facts.key_files]
        for backup in facts.backups[-3:]:
            rows.append(("fact_backup", f"{backup.label} ({backup.kind}, {backup.status})"))
        for window in facts.windows:
            rows.append(
                ("fact_window", f"{window['from']} … {window['until']} (timeline {window['timeline']})")
            )
        self.lines += [f"| {self.text('fact')} | {self.text('value')} |", "|---|---|"]
        self.lines += [f"| {self.text(key)} | `{value}` |" for key, value in rows]
        self.lines.append("")
        self.say("facts_keep")

    def section_look(self) -> None:
        self.say("look")
        self.code(self.ask("info"))

    def target(self) -> None:
        until = next((window["until"] for window in reversed(self.facts.windows)), "2026-11-21T03:04:05Z")
        self.code(
            "set -- --latest",
            f"# set -- --target-time '{until}'",
            "# set -- --target-time '2026-11-21 03:04:05 Asia/Tokyo'",
            "# set -- --target-name before_release",
        )

    def section_here(self) -> None:
        self.say("target")
        self.target()
        self.say("plan")
        self.code(self.ask("plan", '"$@"'))
        self.say("restore")
        self.code(self.ask("restore", '"$@"', f"--confirm {self.facts.config.cluster}"))
        self.say("restore_again")

    def section_check(self) -> None:
        config = self.facts.config
        self.say("check")
        self.code(
            self.ask("info"),
            f"{shlex.quote(config.program('psql'))} -h {shlex.quote(config.socket_directory)} -p {config.port} "
            f"-U {shlex.quote(config.superuser)} -d postgres "
            "-c 'SELECT pg_is_in_recovery(), timeline_id FROM pg_control_checkpoint()' "
            "-c 'SELECT last_archived_wal, last_failed_wal FROM pg_stat_archiver'",
        )
        self.say("check_objectives")
        self.lines += [f"`{self.ask('check')}`", ""]
        self.say("check_rows")

    def section_undo(self) -> None:
        self.say("undo")
        self.code(self.ask("undo", "--check"))
        self.say("undo_do")
        self.code(self.ask("undo", f"--confirm {self.facts.config.cluster}"))
        self.say("undo_remove")

    def section_elsewhere(self) -> None:
        facts, config = self.facts, self.facts.config
        self.say("elsewhere_packages", extensions=", ".join(_extensions(facts.whole)) or "-")
        self.say("elsewhere_repository_ssh" if config.repository_is_elsewhere else "elsewhere_repository")
        self.say("elsewhere_directories")
        needed = [self.parent, config.socket_directory, config.state_directory]
        made = f"install -d -o {facts.owner} -g {facts.group} -m 0750"
        folder = shlex.quote(os.path.dirname(facts.config_path))
        self.code(
            *(f"test -d {path} || {made} {path}" for path in map(shlex.quote, needed)),
            f"test -d {folder} || install -d -m 0755 {folder}",
        )
        self.say("elsewhere_configuration")
        self.code(
            f"cat > {shlex.quote(facts.config_path)} <<'END'",
            *json.dumps(facts.configuration, indent=2, ensure_ascii=False).splitlines(),
            "END",
            f"chown {facts.owner}:{facts.group} {shlex.quote(facts.config_path)}",
            f"chmod 0640 {shlex.quote(facts.config_path)}",
        )
        if config.repository_is_elsewhere:
            self.say("program_elsewhere")
        else:
            self.say("elsewhere_program")
            self.code(
                f"test -d {self.folder} || install -d -m 0755 {self.folder}",
                f"install -m 0755 {shlex.quote(f'{facts.rescue}/{PROGRAM}')} {self.keeper}",
            )
        self.say("elsewhere_server_file" if config.config_file else "elsewhere_server_inside")
        self.say("elsewhere_restore")
        self.target()
        other = "--accept-other-system"
        self.code(self.ask("plan", '"$@"', other))
        self.code(self.ask("restore", '"$@"', other, f"--confirm {config.cluster}"))
        self.say("elsewhere_after")

    def section_program(self) -> None:
        facts, config = self.facts, self.facts.config
        if config.repository_is_elsewhere:
            self.say("program_elsewhere")
            return
        self.say("program")
        program = shlex.quote(f"{facts.rescue}/{PROGRAM}")
        self.code(
            f"python3 {program} info --config {shlex.quote(f'{facts.rescue}/{config.cluster}.json')}",
            f"test -d {self.folder} || install -d -m 0755 {self.folder}",
            f"test -x {self.keeper} || install -m 0755 {program} {self.keeper}",
        )

    def section_plain(self) -> None:
        facts, backup = self.facts, self.facts.whole
        if backup is None:
            self.say("plain_nothing")
            return
        self.say("plain")
        if facts.config.repository_is_elsewhere:
            self.say("plain_bring")
        self.say("plain_places")
        config = facts.config
        work = f"{config.data_directory}.by-hand"
        base = f"{facts.repository_path}/base/{backup.label}"
        archive = f"{facts.repository_path}/wal/{backup.system_id}"
        self.code(
            f"REPOSITORY={shlex.quote(facts.repository_path)}",
            f"BASE=$REPOSITORY{base[len(facts.repository_path) :]}",
            f"ARCHIVE=$REPOSITORY{archive[len(facts.repository_path) :]}",
            f"BIN={shlex.quote(config.bin_directory)}",
            f"WORK={shlex.quote(work)}",
            f"DATA={shlex.quote(config.data_directory)}",
            f"TIMELINE={facts.timeline}",
        )
        self.say("plain_unpack")
        self.code(*unpack(backup))
        self.say("plain_wal")
        self.code(*restore_wal())
        self.say("plain_configure")
        self.code(*configure(work, backup))
        self.say("plain_start")
        self.code(
            f'"$BIN"/pg_ctl start -D "$WORK"/data {with_config_file(f"{work}/by-hand.conf")} -l "$WORK"/log -W',
            'until "$BIN"/pg_isready -q -h "$WORK"/socket; do',
            '  sleep 1; test -e "$WORK"/data/postmaster.pid || { tail "$WORK"/log; break; }',
            "done",
            f'"$BIN"/psql -h "$WORK"/socket -U {shlex.quote(config.superuser)} -d postgres '
            "-c 'SELECT pg_is_in_recovery(), timeline_id FROM pg_control_checkpoint()'",
            'cat "$WORK"/data/pg_wal/*.history',
        )
        self.say("plain_look")
        self.say("plain_stop")
        self.code(
            '"$BIN"/pg_ctl stop -D "$WORK"/data -m fast',
            "grep -vE '^ *(recovery_target|restore_command|primary_)' \"$WORK\"/postgresql.auto.conf "
            '> "$WORK"/data/postgresql.auto.conf || true',
        )
        self.say("plain_swap")
        self.code('test ! -e "$DATA" || mv -T "$DATA" "$DATA".before-by-hand', 'mv -T "$WORK"/data "$DATA"')
        self.say("plain_service")
        for line in _service_start(config):
            self.code(line)
        self.say("plain_after")


def _service_start(config: ClusterConfig) -> list[str]:
    """As the configuration says; without a service manager with a log beside what was made by hand."""
    if config.service.manager == "pg_ctl":
        options = f"{with_config_file(config.config_file)} " if config.config_file else ""
        return [f'"$BIN"/pg_ctl start -w -D "$DATA" {options}-l "$WORK"/server.log']
    lines = [" ".join(map(shlex.quote, command.argv)) for command in start_commands(config, 300, root=True)]
    return [line for line in lines if "reset-failed" not in line]


def _extensions(backup: Backup | None) -> list[str]:
    """Names of what the databases had when the backup was taken."""
    databases = backup.settings.get("databases", []) if backup else []
    names = sorted({name for database in databases for name in database.get("extensions", {})})
    return [name if name.isprintable() else ascii(name) for name in names]
