#!/usr/bin/python
# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the certificate of a server; the authority is on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_certificate
short_description: A server's certificate from a private authority, or proof that a given one can be used
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Makes a key on the host, has it signed by a private authority in the controller's secret store, and renews
    the certificate before it ends.
  - The key of the server never leaves the host, the key of the authority never leaves the controller.
  - The authority is made with its first certificate. Clients know servers by C(ca/ca.crt) in the store.
  - For files that somebody else keeps it makes sure that they belong together, are valid, and that the server
    will take them.
extends_documentation_fragment:
  - dbkeeper.ops._attributes
  - dbkeeper.ops._attributes.action_group
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  source:
    description: Whether certificates are made, or only looked at.
    type: str
    default: generated
    choices: [generated, given]
  owner:
    description: The user that the server runs as. The files belong to it.
    type: str
    default: postgres
  store:
    description: The secret store, a directory on the controller. Needed for V(generated).
    type: path
  directory:
    description: Where the files are kept on the host. Needed for V(generated).
    type: path
  name:
    description: Begin of the names of the files, C(NAME.key), C(NAME.crt) and C(NAME-ca.crt).
    type: str
    default: server
  common_name:
    description:
      - Whom the certificate is for, if somebody looks at the common name. If not set, the first of O(names).
      - If set, the certificate can also be shown to servers, which take it for the name of a role (method C(cert)).
    type: str
  names:
    description: Host names and addresses that clients connect to. Needed for V(generated).
    type: list
    elements: str
    default: []
  days:
    description: How long a new certificate is valid.
    type: int
    default: 365
  renew_before_days:
    description: A certificate that ends sooner is replaced.
    type: int
    default: 120
  certificate:
    description: Path of the certificate on the host, for V(given).
    type: path
  key:
    description: Path of the key on the host, for V(given).
    type: path
  ca:
    description: Path of the authority's certificate on the host, for V(given).
    type: path
  authority:
    description: The authority's certificate. The action fills it in.
    type: str
  signed:
    description: The certificate that was signed. The action fills it in.
    type: str
notes:
  - Run it as root, or as O(owner).
  - The key stays the same when a certificate is renewed. To have a new one, remove it and run again.
requirements:
  - openssl on the host
"""

EXAMPLES = r"""
- name: Have a certificate
  dbkeeper.ops.pg_certificate:
    store: "{{ inventory_dir }}/.secrets"
    directory: /etc/postgresql/17/main/tls
    names: [db1.example.com, 192.0.2.11]
"""

RETURN = r"""
plan:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: str
  sample: [make-key, sign]
executed:
  description: Whether the plan was executed. False in check mode.
  returned: success
  type: bool
  sample: true
reason:
  description: Why a new certificate was needed.
  returned: success
  type: str
  sample: it ends on 2026-12-01
request:
  description: The request that is still to be signed. Null when the action is done.
  returned: success
  type: str
files:
  description: Paths of key, certificate and the authority's certificate on the host.
  returned: success
  type: dict
  sample:
    key: /etc/postgresql/17/main/tls/server.key
    certificate: /etc/postgresql/17/main/tls/server.crt
    authority: /etc/postgresql/17/main/tls/server-ca.crt
certificate:
  description: The certificate that is in place now. Null when there is none.
  returned: success
  type: dict
  sample:
    subject: db1.example.com
    issuer: dbkeeper.ops private authority 1d0f5f0a
    names: [db1.example.com, 192.0.2.11]
    not_before: '2026-11-21T00:00:00.000000Z'
    not_after: '2027-11-21T00:00:00.000000Z'
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._engine.settings.certificate import (
    CertificateRequest,
    be_user,
    check_given,
    ensure_certificate,
    given_later,
)
from ..module_utils._module import serve


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "source": {"type": "str", "default": "generated", "choices": ["generated", "given"]},
            "owner": {"type": "str", "default": "postgres"},
            "store": {"type": "path"},
            "directory": {"type": "path"},
            "name": {"type": "str", "default": "server"},
            "common_name": {"type": "str"},
            "names": {"type": "list", "elements": "str", "default": []},
            "days": {"type": "int", "default": 365},
            "renew_before_days": {"type": "int", "default": 120},
            "certificate": {"type": "path"},
            "key": {"type": "path", "no_log": False},
            "ca": {"type": "path"},
            "authority": {"type": "str"},
            "signed": {"type": "str"},
        },
        required_if=[
            ("source", "generated", ("store", "directory", "names", "authority")),
            ("source", "given", ("certificate", "key")),
        ],
        supports_check_mode=True,
    )
    params = module.params

    def operation() -> dict[str, object]:
        there = be_user(params["owner"], check=module.check_mode)
        if params["source"] == "given":
            given = params["certificate"], params["key"], params["ca"]
            return check_given(*given) if there else given_later(*given)
        request = CertificateRequest(
            directory=params["directory"],
            name=params["name"],
            names=tuple(params["names"]),
            authority=params["authority"],
            renew_before_days=params["renew_before_days"],
            signed=params["signed"],
        )
        return ensure_certificate(request, check=module.check_mode)

    serve(module, operation)


if __name__ == "__main__":
    main()
