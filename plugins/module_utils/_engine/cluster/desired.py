# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Bringing a server into a wanted state: the smallest set of actions, and a restart only where it is
allowed."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

from ..core.errors import Failed
from .config import ClusterConfig
from .instance import Instance
from .psql import query

_RELOAD_SECONDS = 10.0


@dataclass(frozen=True)
class Server:
    """What a server looks like: does it run, which settings wait for a restart, how many clients are
    connected."""

    running: bool
    pending: tuple[str, ...] = ()
    clients: int = 0


def actions(wanted: str, server: Server) -> list[str]:
    """What brings the server into the state ``wanted``: started, stopped, reloaded or restarted. Pure."""
    if wanted == "stopped":
        return ["stop"] if server.running else []
    if not server.running:
        return ["start"]
    return {"started": [], "reloaded": ["reload"], "restarted": ["restart"]}[wanted]


def may_restart(policy: str, server: Server) -> bool:
    """Whether settings that wait may be brought into effect now: policy never, when_idle or always. Pure."""
    return bool(server.pending) and (policy == "always" or (policy == "when_idle" and server.clients == 0))


def converge(
    config: ClusterConfig, wanted: str, *, restart: str, timeout: float, check: bool
) -> dict[str, Any]:
    """Bring the server into the wanted state and say what was done.

    With ``check`` nothing is done, and a cluster that is still to be made counts as stopped.
    """
    instance = Instance(config)
    before = observe(config, instance)
    plan = actions(wanted, before)
    after = before
    if not check:
        for action in plan:
            _act(config, instance, action, timeout)
        after = observe(config, instance) if plan else before
        if wanted == "reloaded" and may_restart(restart, after):
            _act(config, instance, "restart", timeout)
            plan.append("restart")
            after = observe(config, instance)
    running = after.running if not check else wanted != "stopped"
    return {
        "changed": bool(plan),
        "executed": bool(plan) and not check,
        "plan": plan,
        "running": running,
        "pending_restart": list(after.pending),
        "diff": {"before": {"running": before.running}, "after": {"running": running}},
    }


def observe(config: ClusterConfig, instance: Instance) -> Server:
    """Look at the server; changes nothing."""
    if not os.path.isdir(config.data_directory) or not instance.status().running:
        return Server(running=False)
    rows = query(
        config,
        "SELECT (SELECT coalesce(string_agg(name, ',' ORDER BY name), '')"
        " FROM pg_settings WHERE pending_restart),"
        " (SELECT count(*) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid())",
    )
    names, clients = rows[0]
    return Server(running=True, pending=tuple(filter(None, str(names).split(","))), clients=int(str(clients)))


def _act(config: ClusterConfig, instance: Instance, action: str, timeout: float) -> None:
    if action == "reload":
        _reload(config, instance)
    elif action == "start":
        instance.start(timeout=timeout)
    elif action == "stop":
        instance.stop(timeout=timeout)
    else:
        instance.restart(timeout=timeout)


def _reload(config: ClusterConfig, instance: Instance) -> None:
    """Reload, and wait until the server has read its files: only then is pending_restart true (manual,
    20.1)."""
    loaded = _load_time(config)
    instance.reload()
    deadline = time.monotonic() + _RELOAD_SECONDS
    while _load_time(config) == loaded:
        if time.monotonic() > deadline:
            raise Failed(
                "reload-not-seen",
                attempted=f"reload cluster {config.cluster}",
                happened=f"the server did not read its settings again within {_RELOAD_SECONDS:g} s",
                remedy="Read the server's log: a file with a mistake is not taken over.",
            )
        time.sleep(0.05)


def _load_time(config: ClusterConfig) -> str:
    return str(query(config, "SELECT pg_conf_load_time()")[0][0])
