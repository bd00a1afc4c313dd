# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The staged copy: a data directory beside the live one, with a configuration that is wholly our own.

Nothing of the copied configuration is believed while staged: it may point into production's paths (fault C13),
set another target (C16), load what is not installed (C11) or archive what must not be archived yet (C14).
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import asdict

from ..cluster.config import ClusterConfig
from ..cluster.host_limits import available_memory
from ..cluster.target import host_settings
from ..core.errors import Failed, Refused
from ..core.files import (
    fsync_directory,
    make_directory,
    read_json,
    remove_tree,
    sync_filesystem,
    write_durable,
    write_json,
)
from ..core.locks import process_start
from ..repository.engine import BackupEngine
from ..repository.get import restore_command
from ..repository.prefetch import stop_prefetcher
from ..repository.spool import Spool
from .host import RESTORED_MARKER
from .links import discard_links, fetch_links
from .plan import TEMPLATE_SETTINGS, WORK_MARKER, RestorePlan
from .space import PREFETCH_SEGMENTS, STAGED_MAX_WAL_BYTES
from .state import holds_something

_CONFIGURATION = ("postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "pg_ident.conf", "conf.d")
_AUTO = "postgresql.auto.conf"
_RECOVERY_SETTING = re.compile(
    r"^\s*(recovery_target\w*|restore_command|recovery_end_command|archive_cleanup_command|primary_conninfo|"
    r"primary_slot_name|promote_trigger_file|standby_mode)\b",
    re.IGNORECASE,
)
_LOG = "server.log"
#: Of the server's configuration: what its promotion would otherwise turn off, and tell its standbys.
_KEPT_SETTINGS = ("wal_level", "wal_log_hints", "track_commit_timestamp")
#: What a standby that was away needs afterwards, to follow by itself: the promotion's checkpoint must leave it.
_KEEPS_WAL = "wal_keep_size"
_ROOM = b"max_prepared_transactions = 1024\n"
_CLAIMED = "tablespaces.json"


def log_path(plan: RestorePlan) -> str:
    """The staged server's own log."""
    return f"{plan.work_directory}/{_LOG}"


def socket_directory(plan: RestorePlan) -> str:
    """Private to the owner; short enough for a socket's path wherever possible."""
    beside = f"{plan.work_directory}/socket"
    return beside if len(beside) < 85 else f"/tmp/dbkeeper-{os.geteuid()}-{plan.id}"


def stage(plan: RestorePlan, engine: BackupEngine, progress: Callable[[int], None]) -> None:
    """Fetch the backup into a fresh staging directory; what a killed attempt left there is removed first."""
    discard(plan)
    make_directory(plan.work_directory, 0o700)
    _claim_tablespaces(plan)
    if len(plan.chain) > 1:
        fetch_links(plan, engine, progress)
        return
    engine.fetch_backup(
        plan.backup,
        plan.staging,
        tablespace_map={int(move["oid"]): str(move["target"]) for move in plan.tablespaces},
        progress=progress,
        durable=False,
    )


def exists(plan: RestorePlan) -> bool:
    """Whether something is left of the work directory."""
    return os.path.isdir(plan.work_directory)


def discard(plan: RestorePlan, *, keep_tablespaces: bool = False) -> None:
    """Remove everything of ours that is staged, and nothing else; ends a server left behind by a killed run.

    ``keep_tablespaces``: the restored data directory that uses them has been put aside, not thrown away.
    """
    stop_left_behind(plan)
    discard_links(plan)
    if not keep_tablespaces:
        clear_tablespaces(plan)
    _remove_work(plan)
    if socket_directory(plan).startswith("/tmp/"):
        shutil.rmtree(socket_directory(plan), ignore_errors=True)


def clear_tablespaces(plan: RestorePlan) -> None:
    """Take away what this plan put into the directories that it claimed."""
    for target in _claimed_tablespaces(plan):
        if RESTORED_MARKER in os.path.basename(target):
            remove_tree(target, made_by_us=RESTORED_MARKER)
        else:
            _empty(target)


def _claim_tablespaces(plan: RestorePlan) -> None:
    """Note, in the work directory, that these were free when this plan began to fill them (fault C02).

    Only what is noted there is ever emptied again: the same directory may be a live tablespace after the swap, or
    that of a data directory that was kept. Raises :class:`Refused` (``directory-not-empty``).
    """
    targets = [str(move["target"]) for move in plan.tablespaces]
    for target in targets:
        if holds_something(target):
            raise Refused(
                "directory-not-empty",
                attempted=f"stage the tablespaces of cluster {plan.cluster}",
                happened=f"{target} is not empty: it may hold the data of an earlier restore that was kept",
                remedy="Nothing was touched. Remove it by name if nobody needs it, or map the tablespace to a new "
                "directory.",
                details={"directory": target},
            )
    write_json(f"{plan.work_directory}/{_CLAIMED}", targets, 0o600)


def _claimed_tablespaces(plan: RestorePlan) -> list[str]:
    try:
        claimed = read_json(f"{plan.work_directory}/{_CLAIMED}", attempted="see which tablespaces are staged")
    except FileNotFoundError:
        return []
    return [target for target in (str(move["target"]) for move in plan.tablespaces) if target in claimed]


def _remove_work(plan: RestorePlan) -> None:
    # First the prefetcher: it might write a file into the directory that is being removed.
    stop_prefetcher(Spool(f"{plan.work_directory}/spool", plan.id))
    remove_tree(plan.work_directory, made_by_us=WORK_MARKER)


def _empty(directory: str) -> None:
    """A claimed directory that the user mapped a tablespace to: PostgreSQL's own subdirectory in it is ours."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(directory):
            if name.startswith("PG_"):
                shutil.rmtree(f"{directory}/{name}")


def stop_left_behind(plan: RestorePlan, patience: float = 60.0) -> None:
    """A staged server outlives a killed dbkeeper (D02): stop it by the pid that it wrote, after proving that it is it.

    Asked twice, never killed: ``patience`` seconds for each. Raises :class:`Failed` (``staged-server-stuck``).
    """
    pid = staged_pid(plan)
    begun = process_start(pid) if pid is not None else None
    if pid is None or begun is None:
        return
    for number in (signal.SIGINT, signal.SIGQUIT):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + patience
        while process_start(pid) == begun and time.monotonic() < deadline:
            time.sleep(0.05)
        if process_start(pid) != begun:
            return
    raise Failed(
        "staged-server-stuck",
        attempted="stop the staged server that an earlier run left behind",
        happened=f"process {pid} in {plan.staging} does not end",
        remedy=f"Look at {log_path(plan)}, end process {pid}, and run the same command again.",
    )


def staged_pid(plan: RestorePlan) -> int | None:
    """The staged postmaster's pid when it is alive and really works in the staging directory."""
    try:
        with open(f"{plan.staging}/postmaster.pid", encoding="utf-8", errors="replace") as handle:
            pid = int(handle.readline())
        if process_start(pid) is None or os.readlink(f"/proc/{pid}/cwd") != os.path.realpath(plan.staging):
            return None
    except (OSError, ValueError):
        return None
    return pid


def configure(plan: RestorePlan, config: ClusterConfig, begun: str) -> None:
    """Write the staged server's whole configuration, the plan for archive-get, and one signal: recovery's (C17)."""
    work, staging = plan.work_directory, plan.staging
    for directory in (f"{work}/spool", socket_directory(plan)):
        make_directory(directory, 0o700)
    saved = f"{work}/{_AUTO}"
    if not os.path.exists(saved) and os.path.exists(f"{staging}/{_AUTO}"):
        os.rename(f"{staging}/{_AUTO}", saved)
    write_durable(f"{staging}/{_AUTO}", b"", 0o600)
    for leftover in ("standby.signal", "recovery.conf"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{staging}/{leftover}")
    write_get_plan(plan, config, begun)
    # The socket lies in a directory that only the owner can enter.
    write_durable(f"{work}/staged_hba.conf", b"local all all trust\n", 0o600)
    write_durable(f"{work}/staged_ident.conf", b"", 0o600)
    lines = [f"{name} = {_quoted(str(value))}" for name, value in settings(plan, config).items()]
    write_durable(f"{work}/staged.conf", ("\n".join(lines) + "\n").encode(), 0o600)
    # Last: without the signal the server would start from the backup's checkpoint and forget the target.
    write_durable(f"{staging}/recovery.signal", b"", 0o600)
    fsync_directory(staging)


def write_get_plan(plan: RestorePlan, config: ClusterConfig, begun: str) -> None:
    """What archive-get lives by. Written anew before each replay: it may have been lost since.

    The new timeline's number is this restore's, on this host, and nobody else's (D13): not even that of the same plan
    ``begun`` at another time, because what was promoted then may still be somewhere.
    """
    write_json(
        f"{plan.work_directory}/plan.json",
        {
            "format": 2,
            "plan_id": plan.id,
            "repository": config.repository,
            "ssh": asdict(config.ssh) if config.ssh else None,
            "state_directory": config.state_directory,
            "cluster": plan.cluster,
            "system_id": plan.system_id,
            "timeline": plan.timeline,
            "wal_segment_size": plan.wal_segment_size,
            "segments": plan.segments,
            "histories": plan.histories,
            "history_digests": plan.proof["wal"].get("history_digests", {}),
            "partials": [one["segment"] for one in plan.proof["wal"].get("unfinished", [])],
            "taken": plan.proof.get("timelines", []),
            "holder": f"{plan.id} of {begun} in {plan.data_directory} on {os.uname().nodename}",
            "spool": f"{plan.work_directory}/spool",
            "prefetch": PREFETCH_SEGMENTS,
        },
        0o600,
    )


def settings(plan: RestorePlan, config: ClusterConfig) -> dict[str, str | int]:
    """Every setting of the staged server that matters (PostgreSQL manual, "Continuous Archiving", "Recovery Target").

    ``archive_mode=on`` with an empty command keeps the new timeline's files as .ready until the swapped cluster
    archives them (C14). ``fsync=off``: the copy is made durable as a whole before the swap, and staged again after a
    reboot. ``hot_standby=off``: nobody can look at a half-recovered database, and none of the primary's limits bind.
    ``recovery_target_action=promote``: a pause would end in a shutdown (D06) or, with a hot standby that never becomes
    active, in a promotion (D07), and a shutdown would come again at the next start (D08).
    A socket of its own and no port: whoever has the live one is not disturbed (C06), and with neither network nor
    workers it talks to nobody (C15). Nothing is included (C10), little memory and no huge pages are asked for (C19).
    """
    command = restore_command(
        [config.command], f"{plan.work_directory}/plan.json", f"{plan.work_directory}/spool"
    )
    available = available_memory()
    target: dict[str, str | int]
    if plan.immediate:
        target = {"recovery_target": "immediate"}
    else:
        target = {
            "recovery_target_lsn": str(plan.proof["lsn"]),
            "recovery_target_inclusive": "on" if plan.inclusive else "off",
        }
    return {
        "listen_addresses": "",
        "port": config.port,
        "unix_socket_directories": socket_directory(plan),
        "unix_socket_permissions": "0700",
        "hba_file": f"{plan.work_directory}/staged_hba.conf",
        "ident_file": f"{plan.work_directory}/staged_ident.conf",
        "ssl": "off",
        "logging_collector": "off",
        "log_destination": "stderr",
        "log_line_prefix": "%m [%p] ",
        "log_min_messages": "warning",
        "log_timezone": "UTC",
        "timezone": "UTC",
        "lc_messages": "C",
        "archive_mode": "on",
        "archive_command": "",
        "restore_command": command,
        **target,
        "recovery_target_timeline": plan.timeline,
        "recovery_target_action": "promote",
        "hot_standby": "off",
        "wal_level": "replica",
        "shared_preload_libraries": "",
        "session_preload_libraries": "",
        "local_preload_libraries": "",
        "max_logical_replication_workers": 0,
        # Somebody's trigger at login must not act in a copy that nobody knows of yet (fault C15).
        **({"event_triggers": "off"} if int(config.version) >= 17 else {}),
        "autovacuum": "off",
        "fsync": "off",
        "full_page_writes": "on",
        "huge_pages": "off",
        "shared_buffers": f"{replay_buffers(available) >> 20}MB",
        "checkpoint_timeout": "30min",
        "max_wal_size": f"{max(STAGED_MAX_WAL_BYTES, 4 * plan.wal_segment_size) >> 20}MB",
        "min_wal_size": f"{max(2 * plan.wal_segment_size, 32 << 20) >> 20}MB",
        "maintenance_io_concurrency": 64,
        **prefetching(int(config.version), plan.staged_bytes, available),
        **life_settings(plan, config),
    }


def life_settings(plan: RestorePlan, config: ClusterConfig) -> dict[str, str]:
    """Those that a promotion writes into WAL: as the cluster will live with them, the backup's where nobody knows.

    A standby that follows through the promotion stops for ever at a limit above its own (seen on 15.18: it goes on
    receiving, and replays nothing). With ``hot_standby=off`` replay itself asks for none of them but room for prepared
    transactions, see :func:`make_room`.
    """
    found, _error = host_settings(config, (*TEMPLATE_SETTINGS, *_KEPT_SETTINGS, _KEEPS_WAL))
    if found is None:
        return {name: str(value) for name, value in plan.settings.items()}
    # In megabytes. Room is reckoned for so much.
    found = {**found, _KEEPS_WAL: str(min(int(found[_KEEPS_WAL]), STAGED_MAX_WAL_BYTES >> 20))}
    # archive_mode asks for more than minimal.
    return {**found, "wal_level": "replica"} if found["wal_level"] == "minimal" else found


def make_room(plan: RestorePlan) -> None:
    """For a replay that ended because the primary had more prepared transactions than this host has room for (C12).

    The primary may have raised the limit after the backup. Whether the copy can live with them is seen before the swap.
    """
    path = f"{plan.work_directory}/staged.conf"
    with open(path, "rb") as handle:
        text = handle.read()
    write_durable(path, text + _ROOM, 0o600)


def has_room(plan: RestorePlan) -> bool:
    """Whether that was done already."""
    with open(f"{plan.work_directory}/staged.conf", "rb") as handle:
        return handle.read().endswith(_ROOM)


def settle(plan: RestorePlan, config: ClusterConfig) -> list[str]:
    """Give the proven copy the configuration it will live with, and make all of it durable.

    The server's configuration is the host's, not the backup's: a person who restores data at night does not
    want last week's port and access rules with it. The backup's files stay beside as ``*.from-backup``.
    """
    staging = plan.staging
    live_configuration = config.config_file is None and os.path.isfile(
        f"{plan.data_directory}/postgresql.conf"
    )
    if live_configuration:
        for name in _CONFIGURATION:
            _take_over(f"{plan.data_directory}/{name}", f"{staging}/{name}")
    elif os.path.exists(f"{plan.data_directory}/{_AUTO}"):
        _take_over(f"{plan.data_directory}/{_AUTO}", f"{staging}/{_AUTO}")
    elif os.path.exists(f"{plan.work_directory}/{_AUTO}"):
        shutil.copyfile(f"{plan.work_directory}/{_AUTO}", f"{staging}/{_AUTO}")
    removed = _strip_recovery_settings(f"{staging}/{_AUTO}")
    _forget_partial(plan)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{staging}/postmaster.opts")
    for directory in [staging, *(str(move["target"]) for move in plan.tablespaces)]:
        sync_filesystem(directory)
    return removed


def _take_over(live: str, staged: str) -> None:
    if not os.path.lexists(live):
        return
    kept = f"{staged}.from-backup"
    if os.path.lexists(staged):
        # A second time (the first configuration did not start) what lies here is no longer the backup's.
        if not os.path.lexists(kept):
            os.rename(staged, kept)
        elif os.path.isdir(staged):
            shutil.rmtree(staged)
        else:
            os.unlink(staged)
    if os.path.isdir(live):
        shutil.copytree(live, staged)
    else:
        shutil.copy2(live, staged)


def _strip_recovery_settings(path: str) -> list[str]:
    """Take out what would send the next start after another target (C16); the names, in their order."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as handle:
            lines = handle.readlines()
    except FileNotFoundError:
        lines = []
    found = [(line, _RECOVERY_SETTING.match(line)) for line in lines]
    kept = "".join(line for line, match in found if not match)
    write_durable(path, kept.encode(errors="surrogateescape"), 0o600)
    return [match[1] for _line, match in found if match]


def _forget_partial(plan: RestorePlan) -> None:
    """The parent timeline's last segment, cut short by the promotion, must not be archived.

    The archive holds the whole segment (the proof read it); a second restore that forks in the same segment
    would archive other bytes under the same name and block the archiver for ever.
    """
    status = f"{plan.staging}/pg_wal/archive_status"
    for name in os.listdir(status):
        if name.endswith(".partial.ready"):
            os.rename(f"{status}/{name}", f"{status}/{name[: -len('.ready')]}.done")


def replay_buffers(available: int) -> int:
    """shared_buffers in bytes: a quarter of the ``available`` memory, 32 MB to 4 GB; the live server keeps its own."""
    return min(max(available // 4, 32 << 20), 4 << 30)


def prefetching(version: int, staged_bytes: int, available: int) -> dict[str, str | int]:
    """Whether replay announces the blocks that it will read (PostgreSQL manual, "WAL Configuration"; 15 and later).

    A copy that was written just now and fits into memory is there already; announcing its blocks costs a tenth of
    replay.
    """
    if version < 15:
        return {}
    return {"recovery_prefetch": "off" if 2 * staged_bytes < available else "try"}


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def clean_up(plan: RestorePlan) -> None:
    """Remove the work directory after the swap; the data directory has moved out of it."""
    _remove_work(plan)
    if socket_directory(plan).startswith("/tmp/"):
        shutil.rmtree(socket_directory(plan), ignore_errors=True)
