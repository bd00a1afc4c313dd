# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""One data directory out of a chain of backups: pg_combinebackup, beside everything that is in use.

The program looks at positions, not at content (PostgreSQL manual, "pg_combinebackup"): the links have been held
against their manifests before, their pages must be of one kind (fault A17), and what comes out is held against the
manifest that comes with it. Only then does it get the name under which a server may be started.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil

from ..cluster.config import ClusterConfig
from ..cluster.controldata import read_control_data
from ..core.errors import Failed
from ..core.files import write_durable
from ..core.run import run
from ..repository.fetch import tablespace_lines
from .links import COMBINED, discard_links, link_directory, link_tablespaces, stop_programs
from .plan import RestorePlan
from .staging import clear_tablespaces

_WEEK_SECONDS = 7 * 86400.0
#: ioctl(2) FICLONE: two files share their blocks until one is written to (Btrfs, XFS).
_FICLONE = 0x40049409
_FULL = ("No space left on device", "Disk quota exceeded")


def combine(plan: RestorePlan, config: ClusterConfig) -> None:
    """Make the staged data directory out of the staged links; nothing to do for a full backup.

    Can be done again at any point. Raises :class:`Failed`: ``chain-checksums-changed``, ``combine-failed``,
    ``combined-copy-unfit``, ``staging-full``.
    """
    if len(plan.chain) < 2:
        return
    if not os.path.exists(plan.staging):
        combined = f"{plan.work_directory}/{COMBINED}"
        _begin(plan, combined)
        _check_links(plan, config)
        _run_combine(plan, config, combined)
        _verify(config, combined)
        targets = {int(move["oid"]): str(move["target"]) for move in plan.tablespaces}
        if targets:
            write_durable(f"{combined}/tablespace_map", tablespace_lines(targets), 0o600)
        os.rename(combined, plan.staging)
    # Before replay writes anything: files that are linked are the same files.
    discard_links(plan)


def _begin(plan: RestorePlan, combined: str) -> None:
    """What a killed run left half-made goes; its links stay."""
    stop_programs(plan)
    shutil.rmtree(combined, ignore_errors=True)
    clear_tablespaces(plan)


def _check_links(plan: RestorePlan, config: ClusterConfig) -> None:
    """What the control files themselves say, whatever the catalog says."""
    controls = [
        read_control_data(config.bin_directory, link_directory(plan, number))
        for number in range(len(plan.chain))
    ]
    states = [control.data_checksums for control in controls]
    if len(set(states)) > 1:
        words = ", ".join(
            f"{'on' if state else 'off'} in {link['label']}" for link, state in zip(plan.chain, states)
        )
        raise Failed(
            "chain-checksums-changed",
            attempted=f"combine the chain of backup {plan.backup}",
            happened=f"data checksums are {words}: some pages would have wrong checksums; nothing was swapped",
            remedy="Choose another backup (dbkeeper info lists them), and take a full one: "
            "dbkeeper backup --kind full.",
            details={"chain": [link["label"] for link in plan.chain]},
        )
    if {str(control.system_id) for control in controls} != {plan.system_id}:
        raise Failed(
            "chain-broken",
            attempted=f"combine the chain of backup {plan.backup}",
            happened="its links are of different database systems; nothing was swapped",
            remedy="Choose another backup (dbkeeper info lists them).",
        )


def _run_combine(plan: RestorePlan, config: ClusterConfig, combined: str) -> None:
    last = len(plan.chain) - 1
    targets = {int(move["oid"]): str(move["target"]) for move in plan.tablespaces}
    argv = [config.program("pg_combinebackup"), "--no-sync", "--manifest-checksums=SHA256", "-o", combined]
    if plan.combine_method == "link":
        argv.append("--link")
    elif _clones(plan.work_directory):
        argv.append("--clone")
    for oid, source in link_tablespaces(plan, last).items():
        argv.append(f"--tablespace-mapping={_escaped(source)}={_escaped(targets[oid])}")
    argv += [link_directory(plan, number) for number in range(last + 1)]
    try:
        run(argv, attempted=f"combine the chain of backup {plan.backup}", timeout=_WEEK_SECONDS)
    except Failed as error:
        raise _failure(error, plan) from error


def _failure(error: Failed, plan: RestorePlan) -> Failed:
    full = any(mark in error.happened for mark in _FULL)
    return Failed(
        "staging-full" if full else "combine-failed",
        attempted=error.attempted,
        happened=f"{error.happened}; nothing that is in use was touched",
        remedy="Make space where the copy is staged, then run the same command again."
        if full
        else "Choose another backup with --backup (dbkeeper info lists them), or mend what its words name and run the "
        "same command again.",
        details={"chain": [link["label"] for link in plan.chain], **error.details},
    )


def _verify(config: ClusterConfig, combined: str) -> None:
    """pg_verifybackup without WAL, which is proven elsewhere."""
    try:
        run(
            [config.program("pg_verifybackup"), "--no-parse-wal", "--exit-on-error", combined],
            attempted="verify the combined copy against its manifest",
            timeout=_WEEK_SECONDS,
        )
    except Failed as error:
        raise Failed(
            "combined-copy-unfit",
            attempted=error.attempted,
            happened=f"{error.happened}; nothing that is in use was touched",
            remedy="Look at the disk of the staged copy, then run the same command again: it fetches the backups anew.",
            details=error.details,
        ) from error


def _clones(directory: str) -> bool:
    """Whether files below it can share their blocks."""
    one, other = f"{directory}/clone-from", f"{directory}/clone-to"
    try:
        with open(one, "wb") as source:
            source.write(bytes(4096))
        with open(one, "rb") as source, open(other, "wb") as target:
            fcntl.ioctl(target.fileno(), _FICLONE, source.fileno())
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EACCES):
            raise
        return False
    finally:
        for path in (one, other):
            if os.path.exists(path):
                os.unlink(path)
    return True


def _escaped(path: str) -> str:
    """For --tablespace-mapping, where ``=`` stands between the two."""
    return path.replace("=", "\\=")
