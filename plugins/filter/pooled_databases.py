# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The filter that reads from the inventory which pooler reaches which database."""

from __future__ import annotations

DOCUMENTATION = r"""
name: pooled_databases
short_description: Which pooler reaches which database of which host
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Reads C(pgbouncer_databases) of poolers, and makes addresses and ports of the names of hosts in it.
positional: poolers, server, with_standbys
options:
  _input:
    description: The variables of all hosts, C(hostvars).
    type: dict
    required: true
  poolers:
    description: Names of the hosts that pool.
    type: list
    elements: str
    required: true
  server:
    description: Only databases of this host. Empty means all.
    type: str
    default: ""
  with_standbys:
    description: And of hosts whose C(postgresql_primary) it is. They get from it what lookups need.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show who reaches databases of this host
  ansible.builtin.debug:
    msg: "{{ hostvars | dbkeeper.ops.pooled_databases(groups['pgbouncer'], inventory_hostname) }}"
"""

RETURN = r"""
_value:
  description: One for each database of each pooler. C(address) is where the server sees the pooler come from, as
    C(pg_hba.conf) takes it; C(entry) is what M(dbkeeper.ops.pgbouncer) takes.
  type: list
  elements: dict
  sample:
    - pooler: pool1
      address: 192.0.2.21/32
      dbname: app
      entry: {name: app, host: 192.0.2.11, port: 5432, poolers: 1}
"""

from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ..module_utils._engine.core.errors import KeeperError
from ..plugin_utils._pooled import pooled_databases


def _filter(
    hosts: Any, poolers: list[str], server: str = "", with_standbys: bool = False
) -> list[dict[str, Any]]:
    try:
        return pooled_databases(hosts, list(poolers), str(server), with_standbys=with_standbys)
    except KeeperError as error:
        raise AnsibleFilterError(f"{error.attempted}: {error.happened}. {error.remedy}") from error


class FilterModule:
    """Registers the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"pooled_databases": _filter}
