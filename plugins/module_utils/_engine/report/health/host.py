# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What only the server's own host tells: how full its file systems are, and how long its certificate is good."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ...core.clock import parse_utc
from ...core.errors import Refused
from ...settings.x509 import read_certificate
from ...watch.space import Sample, forecast
from ..session import Look

_LOCAL = ("", "localhost", "127.0.0.1", "::1")


def is_local(options: Mapping[str, Any]) -> bool:
    """Whether the server is on the host that this runs on: it is asked over a socket or the loopback."""
    host = str(options.get("login_unix_socket") or options.get("login_host") or "")
    return host.startswith("/") or host in _LOCAL


def disks(look: Look, places: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Free and total bytes of each file system below one of (what, path), each file system once."""
    found: dict[int, dict[str, Any]] = {}
    for what, path in places:
        try:
            device = os.stat(path).st_dev
            facts = os.statvfs(path)
        except OSError as error:
            look.miss(f"disk of {what}", "unavailable", f"{error.filename or path}: {error.strerror}")
            continue
        total = facts.f_blocks * facts.f_frsize
        kept = found.setdefault(
            device,
            {
                "path": path,
                "holds": [],
                "total_bytes": total,
                "free_bytes": facts.f_bavail * facts.f_frsize,
                # What is reserved for root is neither free nor used.
                "used_share": round(
                    1 - facts.f_bavail / max(1, facts.f_bavail + facts.f_blocks - facts.f_bfree), 4
                ),
            },
        )
        kept["holds"].append(what)
    return list(found.values())


def with_forecast(
    disk: Mapping[str, Any], runs: Sequence[Mapping[str, Any]], now: datetime
) -> dict[str, Any]:
    """The disk with the days until it is full, by what earlier runs saw of it; None where they tell nothing."""
    samples = [
        Sample(parse_utc(run["at"]), int(run["disks"][disk["path"]]))
        for run in runs
        if disk["path"] in run.get("disks", {})
    ]
    told = forecast([*samples, Sample(now, int(disk["free_bytes"]))], now)
    return {**disk, "days": told.days if told else None}


def certificate(look: Look, settings: Mapping[str, str], now: datetime) -> dict[str, Any] | None:
    """The server's certificate by its file: for whom, until when; None without TLS, or where it cannot be read."""
    if settings.get("ssl") != "on":
        return None
    path = os.path.join(settings.get("data_directory", ""), settings.get("ssl_cert_file", ""))
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            read = read_certificate(handle.read(), source=path)
    except (OSError, Refused) as error:
        why = error.happened if isinstance(error, Refused) else f"{path}: {error.strerror}"
        look.miss("the certificate", "unavailable", why)
        return None
    left = (read.not_after - now).total_seconds() / 86400
    life = read.lifetime.total_seconds() / 86400
    return {**read.to_dict(), "path": path, "days": left, "life_days": life}
