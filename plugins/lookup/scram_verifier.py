# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server needs to know of a password, computed on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
name: scram_verifier
short_description: The SCRAM verifier of a password
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Returns what PostgreSQL stores for a password, so that the password itself never reaches the server, its log
    or its process list.
  - The same password under the same name always gives the same verifier, because the salt follows from the name
    and a random key in the store. So nothing changes in a second run, and check mode tells the truth.
options:
  _terms:
    description:
      - Names of the secrets in the store, such as C(db1/main/app).
      - A dictionary with C(name) and C(password) has a password of its own, which may be empty. Its name is taken
        below O(scope).
    required: true
  scope:
    description: Directory in the store for terms that are dictionaries, such as C(db1/main).
    type: str
    default: ""
  store:
    description: Directory of the store, as in P(dbkeeper.ops.secret#lookup).
    type: path
    required: true
  password:
    description:
      - The password, for example from a variable that is encrypted with C(ansible-vault).
      - If not set, it is the one in the store, which is made where there is none.
      - What is a verifier already is returned as it is.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Make a role with a password that only the controller knows
  community.postgresql.postgresql_user:
    name: app
    password: "{{ lookup('dbkeeper.ops.scram_verifier', 'db1/main/app', store=inventory_dir ~ '/.secrets') }}"
  become: true
  become_user: postgres
"""

RETURN = r"""
_list:
  description: The verifiers.
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

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """The verifiers, one for each name."""
        self.set_options(var_options=variables, direct=kwargs)
        keep = not (variables or {}).get("ansible_check_mode", False)
        store = Store(self.get_option("store"), self._loader.get_text_file_contents, keep=keep)
        try:
            return [store.verifier(*self._secret(term)) for term in terms]
        except KeeperError as error:
            raise AnsibleError(f"{error.attempted}: {error.happened}. {error.remedy}") from error

    def _secret(self, term: Any) -> tuple[str, str]:
        """Name in the store, and the password that was given."""
        if isinstance(term, dict):
            scope = self.get_option("scope")
            return f"{scope}/{term['name']}" if scope else str(term["name"]), str(term.get("password") or "")
        return str(term), self.get_option("password") or ""
