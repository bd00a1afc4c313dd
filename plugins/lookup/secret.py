# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Passwords out of the controller's secret store, made where there is none."""

from __future__ import annotations

DOCUMENTATION = r"""
name: secret
short_description: A password from the secret store of the controller
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Returns the secret with that name. Where there is none, a random password is made and kept.
  - Secrets are files that only their owner can read, one for each. They may be encrypted with C(ansible-vault)
    at any time.
  - In check mode nothing is kept.
  - Give the result only to options that Ansible hides (C(no_log)). For a role of a server,
    P(dbkeeper.ops.scram_verifier#lookup) is all that is needed.
options:
  _terms:
    description: Names, such as C(db1/main/app).
    required: true
  store:
    description: Directory of the store.
    type: path
    required: true
  length:
    description: Length of a new password, which is made of letters and digits.
    type: int
    default: 32
"""

EXAMPLES = r"""
- name: Give an application its password
  ansible.builtin.copy:
    content: "{{ lookup('dbkeeper.ops.secret', 'db1/main/app', store=inventory_dir ~ '/.secrets') }}"
    dest: /etc/app/password
    owner: app
    mode: "0400"
  no_log: true
"""

RETURN = r"""
_list:
  description: The passwords.
  type: list
  elements: str
"""

from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

from ..module_utils._engine.core.errors import KeeperError
from ..plugin_utils._secrets import Store


class LookupModule(LookupBase):
    """See the documentation."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """The passwords, one for each name."""
        self.set_options(var_options=variables, direct=kwargs)
        keep = not (variables or {}).get("ansible_check_mode", False)
        store = Store(self.get_option("store"), self._loader.get_text_file_contents, keep=keep)
        try:
            return [store.password(str(name), self.get_option("length")) for name in terms]
        except KeeperError as error:
            raise AnsibleError(f"{error.attempted}: {error.happened}. {error.remedy}") from error
