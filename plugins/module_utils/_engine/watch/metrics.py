# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The figures of a check as text that Prometheus reads, for the textfile collector of node_exporter.

Format: "Exposition formats" of Prometheus' documentation, text format 0.0.4. Names carry base units (seconds, bytes).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.clock import parse_utc
from ..core.errors import Failed
from ..core.files import write_durable
from .finding import STATES

#: Name -> what it says. A figure that is not listed here is a mistake, and a test finds it.
HELP = {
    "check_state": "State of a check: 0 ok, 1 warning, 2 failed.",
    "check_time_seconds": "When dbkeeper check last ran, as Unix time.",
    "healthy": "1 when no check has failed.",
    "newest_backup_age_seconds": "Age of the newest verified base backup that a restore can start from.",
    "newest_backup_size_bytes": "Size of the data in the newest base backup.",
    "newest_backup_stored_bytes": "Size of the newest base backup in the repository.",
    "backups": "Base backups in the repository, by status.",
    "recovery_window_start_seconds": "Oldest moment that can be restored on the newest timeline, as Unix time.",
    "recovery_window_end_seconds": "Newest archived commit on the newest timeline, as Unix time.",
    "archive_gaps": "Stretches of archived WAL that are missing or damaged.",
    "full_backup_age_seconds": "Age of the newest verified full backup.",
    "rpo_now_seconds": "Work that would be lost now: age of the oldest commit that is not archived.",
    "wal_waiting_files": "WAL files that wait to be archived.",
    "wal_waiting_bytes": "Size of the WAL files that wait to be archived.",
    "wal_disk_free_bytes": "Free space where the server writes WAL.",
    "repository_free_bytes": "Free space of the repository's file system.",
    "repository_size_bytes": "Size of the repository's file system.",
    "repository_full_in_days": "Days until the repository's file system is full at the pace of the last days.",
    "size_ratio": "Size of the newest run of a kind, divided by the median of those before.",
    "duration_ratio": "Duration of the newest run of a kind, divided by the median of those before.",
    "dump_age_seconds": "Age of the newest verified dump.",
    "copy_behind_seconds": "How far a copy is behind the repository.",
    "verification_age_seconds": "Time since what is stored was last read and found good.",
    "trial_age_seconds": "Time since a dump was last loaded and its rows proven.",
    "runs_failing": "Kinds of runs whose last run failed.",
    "notifications_waiting": "Notifications that could not be delivered yet.",
}
_PREFIX = "dbkeeper_"
Sample = tuple[str, dict[str, str], float]


def samples(result: Mapping[str, Any]) -> list[Sample]:
    """Name, labels and value of every figure of a check."""
    cluster = {"cluster": str(result["cluster"])}
    found: list[Sample] = [
        ("healthy", cluster, float(result["healthy"])),
        ("check_time_seconds", cluster, parse_utc(result["at"]).timestamp()),
    ]
    for item in result["checks"]:
        found.append(("check_state", {**cluster, "check": item["name"]}, float(STATES.index(item["state"]))))
        for one in item["measures"]:
            about = {"about": str(one["about"])} if "about" in one else {}
            found.append((one["name"], {**cluster, **about}, float(one["value"])))
    known = result["information"]
    return found + (_of_the_repository(known, cluster) if known else [])


def _of_the_repository(known: Mapping[str, Any], cluster: dict[str, str]) -> list[Sample]:
    found: list[Sample] = [("archive_gaps", cluster, float(len(known["gaps"])))]
    for status in ("running", "verified", "failed", "expired"):
        count = sum(one["status"] == status for one in known["backups"])
        found.append(("backups", {**cluster, "status": status}, float(count)))
    freshness = known["freshness"]
    if freshness["newest_backup_age_seconds"] is not None:
        found.append(("newest_backup_age_seconds", cluster, freshness["newest_backup_age_seconds"]))
        newest = next((one for one in known["backups"] if one["label"] == freshness["newest_backup"]), None)
        if newest is not None:
            found.append(("newest_backup_size_bytes", cluster, float(newest["plain_bytes"] or 0)))
            found.append(("newest_backup_stored_bytes", cluster, float(newest["stored_bytes"] or 0)))
    usable = [window for window in known["windows"] if window["backups"]]
    if usable:
        found.append(("recovery_window_start_seconds", cluster, parse_utc(usable[-1]["from"]).timestamp()))
        found.append(("recovery_window_end_seconds", cluster, parse_utc(usable[-1]["until"]).timestamp()))
    return found


def exposition(result: Mapping[str, Any]) -> str:
    """The whole text: every name once with its HELP and TYPE, all of them gauges."""
    by_name: dict[str, list[Sample]] = {}
    for sample in samples(result):
        by_name.setdefault(sample[0], []).append(sample)
    lines: list[str] = []
    for name in sorted(by_name):
        lines += [f"# HELP {_PREFIX}{name} {HELP[name]}", f"# TYPE {_PREFIX}{name} gauge"]
        for _name, labels, value in by_name[name]:
            told = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
            lines.append(f"{_PREFIX}{name}{{{told}}} {value!r}")
    return "\n".join(lines) + "\n"


def write_metrics(path: str, result: Mapping[str, Any]) -> None:
    """Replace the file whole: the collector must never see a half. Readable by all, as the collector is another user.

    Raises :class:`Failed` ``metrics-not-writable``.
    """
    try:
        write_durable(path, exposition(result).encode(), 0o644)
    except OSError as error:
        raise Failed(
            "metrics-not-writable",
            attempted=f"write figures for Prometheus to {path}",
            happened=f"{error.filename or path}: {error.strerror}",
            remedy="Let the cluster's owner write in that directory, or name another one as metrics_file.",
        ) from error


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
