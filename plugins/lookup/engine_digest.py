# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the host command would be made of, so that a host need not be sent all of it to see that it has it."""

from __future__ import annotations

DOCUMENTATION = r"""
name: engine_digest
short_description: SHA-256 of the sources of the host command dbkeeper
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Returns a digest of the engine of this collection, of which M(dbkeeper.ops.keeper_command) builds the host command.
  - With it M(dbkeeper.ops.keeper_config) tells whether a host has the very same one.
options: {}
seealso:
  - module: dbkeeper.ops.keeper_command
"""

EXAMPLES = r"""
- name: Show what the host command would be made of
  ansible.builtin.debug:
    msg: "{{ lookup('dbkeeper.ops.engine_digest') }}"
"""

RETURN = r"""
_list:
  description: The digest.
  type: list
  elements: str
"""

from typing import Any

from ansible.plugins.lookup import LookupBase

from ..module_utils._engine.cli.install import digest_of, engine_sources


class LookupModule(LookupBase):
    """See the documentation."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """The digest."""
        self.set_options(var_options=variables, direct=kwargs)
        return [digest_of(engine_sources())]
