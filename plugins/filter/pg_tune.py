# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The filter that turns the facts of a host and an intent into settings."""

from __future__ import annotations

DOCUMENTATION = r"""
name: pg_tune
short_description: Settings of PostgreSQL for a host, each with its reason
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Turns the facts that M(dbkeeper.ops.pg_host_info) gathers and what the cluster is for into settings.
  - The same facts give the same settings. Facts within a fifth of those in O(previous) count as those, so a
    host that grows a little keeps its configuration.
  - What all connections and all of autovacuum may take together stays below 120 percent of memory.
positional: intent, connections, data_size, active_connections, pinned, minima, previous
options:
  _input:
    description: The facts, as the module returns them.
    type: dict
    required: true
  intent:
    description:
      - What the cluster is for. V(off) leaves all settings alone.
    type: str
    required: true
    choices: [oltp, web, dw, mixed, desktop, "off"]
  connections:
    description: How many connections there may be. V(0) means what is usual for the intent.
    type: int
    default: 0
  data_size:
    description: How large the data is going to be, such as V(200GB). Empty means that nobody knows.
    type: str
    default: ""
  active_connections:
    description: How many connections have been seen to work at the same time. V(0) means that nobody knows.
    type: int
    default: 0
  pinned:
    description: Settings given by hand. They win, and the others are reckoned with them.
    type: dict
    default: {}
  minima:
    description:
      - What the primary of this standby has, for the five settings of which a standby must not have less.
      - These are C(max_connections), C(max_worker_processes), C(max_wal_senders),
        C(max_prepared_transactions) and C(max_locks_per_transaction).
    type: dict
    default: {}
  previous:
    description: The C(inputs) of the present configuration, as the module returns them.
    type: dict
seealso:
  - module: dbkeeper.ops.pg_host_info
"""

EXAMPLES = r"""
- name: Look at the host
  dbkeeper.ops.pg_host_info:
    instance: "{{ postgresql_location }}"
  register: host

- name: Show what suits it
  ansible.builtin.debug:
    msg: "{{ host.facts | dbkeeper.ops.pg_tune('oltp', connections=200, previous=host.previous) }}"
"""

RETURN = r"""
_value:
  description: The settings, what they add up to, and what they came from.
  type: dict
  contains:
    settings:
      description: The settings in the order of their groups. Values are texts for postgresql.conf.
      type: list
      elements: dict
      sample:
        - name: shared_buffers
          value: 8GB
          group: Memory
          reason: a quarter of 32.0 GB
          source: "manual: resource consumption, memory (25 % to 40 %)"
          takes_effect: restart
          pinned: false
    budget:
      description: What the settings add up to, in bytes and as a share of memory. Empty with the intent V(off).
      type: dict
      sample: {total_bytes: 26642219008, limit_bytes: 40200893890, share: 0.795}
    inputs:
      description: What the values came from, to be kept and handed in as O(previous) next time.
      type: dict
      sample: {format: 1, facts: {cpus: 8}, request: {intent: oltp}}
    warnings:
      description: What was given by hand and does not go together.
      type: list
      elements: str
      sample: []
"""

from collections.abc import Mapping
from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ..module_utils._engine.core.errors import KeeperError
from ..module_utils._engine.tuning.facts import HostFacts
from ..module_utils._engine.tuning.request import Request
from ..module_utils._engine.tuning.tune import tune


def _filter(
    facts: Mapping[str, Any],
    intent: Any,
    connections: Any = 0,
    data_size: Any = "",
    active_connections: Any = 0,
    pinned: Mapping[str, Any] | None = None,
    minima: Mapping[str, Any] | None = None,
    previous: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    try:
        request = Request.build(
            intent,
            connections=connections,
            data_size=data_size,
            active_connections=active_connections,
            pinned=pinned,
            minima=minima,
        )
        return tune(request, HostFacts.from_dict(facts), previous)
    except KeeperError as error:
        raise AnsibleFilterError(f"{error.attempted}: {error.happened}. {error.remedy}") from error


class FilterModule:
    """Registers the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"pg_tune": _filter}
