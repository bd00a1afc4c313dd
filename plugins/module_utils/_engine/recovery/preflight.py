# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The last look before the swap: does the server's own program take the configuration that the copy will live with?

Asked of the settled copy, while the old cluster still serves. What is found here costs no downtime.
"""

from __future__ import annotations

import os

from ..cluster.config import ClusterConfig
from ..cluster.controldata import read_control_data
from ..cluster.host_limits import meminfo
from ..cluster.target import setting
from ..core.errors import Failed
from .plan import RestorePlan


def preflight(plan: RestorePlan, config: ClusterConfig, prepared_transactions: int) -> None:
    """Raises :class:`Failed` ``restored-configuration-unfit`` (faults C10, C11, C12, C19); nothing has been swapped."""
    path = config.config_file or f"{plan.staging}/postgresql.conf"
    options = ("-c", f"data_directory={plan.staging}")
    try:
        port = setting(config, path, "port", *options)
        sockets = setting(config, path, "unix_socket_directories", *options)
        room = int(setting(config, path, "max_prepared_transactions", *options))
        pages = setting(config, path, "huge_pages", *options)
        needed = 0
        if plan.major >= 15:
            # Loads what is preloaded, and adds up all shared memory; it needs a data directory that no server uses.
            needed = int(setting(config, path, "shared_memory_size_in_huge_pages", *options))
    except Failed as error:
        raise _unfit(plan, path, f"the server's own program does not take it: {error.happened}") from error
    if int(port) != config.port:
        raise _unfit(plan, path, f"its port is {port}, the cluster's description says {config.port}")
    places = [os.path.realpath(place.strip().strip('"')) for place in sockets.split(",")]
    if os.path.realpath(config.socket_directory) not in places:
        raise _unfit(
            plan,
            path,
            f"its sockets are in {sockets}, the cluster's description says {config.socket_directory}",
        )
    if prepared_transactions > room:
        raise _unfit(
            plan,
            path,
            f"{prepared_transactions} prepared transactions were recovered, max_prepared_transactions is {room}",
        )
    free = meminfo().get("HugePages_Free", 0)
    if pages == "on" and needed > free and not plan.live["running"]:
        raise _unfit(plan, path, f"huge_pages is on and {needed} pages are needed, {free} are free")
    if not read_control_data(config.bin_directory, plan.staging).shut_down:
        raise _unfit(plan, path, "the copy is no longer shut down in order")


def _unfit(plan: RestorePlan, path: str, why: str) -> Failed:
    return Failed(
        "restored-configuration-unfit",
        attempted=f"see whether the restored cluster can start with {path}",
        happened=f"{why}; nothing was swapped",
        remedy="Mend that file (or the cluster's description), then run the same command again: it goes on from here.",
        details={"file": path, "work_directory": plan.work_directory},
    )
