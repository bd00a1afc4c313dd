# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""How modules that speak SQL are told where the server is: the names of community.postgresql."""

from __future__ import annotations


class ModuleDocFragment:
    """The connection options."""

    DOCUMENTATION = r"""
options:
  login_host:
    description: Host of the server. If not set, its socket is used.
    type: str
  login_port:
    description: Port of the server. If not set, that of the cluster, or 5432.
    type: int
  login_unix_socket:
    description: Directory of the server's socket. If not set, that of the cluster, or the library's own.
    type: path
  login_user:
    description: Role to connect as. If not set, the cluster's superuser, or the library's own choice.
    type: str
  login_password:
    description: Password of the role.
    type: str
  login_db:
    description: Database to connect to.
    type: str
    default: postgres
  ssl_mode:
    description: How the connection is encrypted and the server proven, as in libpq.
    type: str
    default: prefer
    choices: [allow, disable, prefer, require, verify-ca, verify-full]
  ca_cert:
    description: Certificates that the server's must be signed by.
    type: path
  ssl_cert:
    description: Certificate of the client.
    type: path
  ssl_key:
    description: Key of the client.
    type: path
  connect_timeout:
    description: Seconds that connecting may take.
    type: int
    default: 10
requirements:
  - psycopg >= 3.1 (Debian has it as python3-psycopg)
"""
