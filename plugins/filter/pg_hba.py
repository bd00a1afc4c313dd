# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Filters that turn lists of variables into access rules."""

from __future__ import annotations

DOCUMENTATION = r"""
name: pg_hba
short_description: Lines of pg_hba.conf from a list of rules
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Writes one line for each rule, in the order of the list, and reads each as the server will.
  - Without a type, a rule without an address is C(local), one for loopback is C(host), any other is C(hostssl).
    Without a method it is C(scram-sha-256).
  - Methods that do not guard the password (C(trust), C(password), C(md5), C(ident), or one that sends it as it is
    without TLS) are refused unless the rule says C(accept_weak=true).
positional: version, tls
options:
  _input:
    description: Rules with the keys C(type), C(database), C(user), C(address), C(method), C(options) and
      C(accept_weak). Databases and users are a list, or a text as it stands in the file.
    type: list
    elements: dict
    required: true
  version:
    description: Major version of the server.
    type: int
    required: true
  tls:
    description: Whether the server has TLS.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Show the lines
  ansible.builtin.debug:
    msg: "{{ [{'database': ['shop'], 'user': ['app'], 'address': '192.0.2.0/24'}] | dbkeeper.ops.pg_hba(17) }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: str
  sample: "hostssl shop            app             192.0.2.0/24            scram-sha-256"
"""

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ..module_utils._engine.core.errors import KeeperError
from ..plugin_utils._access import hba_lines


def _filter(rules: Sequence[Mapping[str, Any]], version: int, tls: bool = True) -> str:
    try:
        return hba_lines(rules, int(version), tls=bool(tls))
    except KeeperError as error:
        raise AnsibleFilterError(f"{error.attempted}: {error.happened}. {error.remedy}") from error


class FilterModule:
    """Registers the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"pg_hba": _filter}
