#!/usr/bin/python
# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps one PgBouncer configured and running."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pgbouncer
short_description: Configure and run PgBouncer, proven before it takes effect
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Writes C(pgbouncer.ini) and C(userlist.txt) whole, brings them into effect, and reads back from the admin console
    that they are.
  - Before anything is changed, a pooler with the new files is started for a moment in a directory of its own, as the
    pooler's user. What it refuses is refused here, with its words.
  - Before anything is changed, each server is asked as the lookup role, so that a login that could not be looked up is
    found, and the pools are counted against what the server takes. Each database has a cap
    (C(max_db_connections)), so the sum is a guarantee.
  - A reload is used where it is enough. PgBouncer says which settings need a restart; O(restart) decides whether there
    is one. What waits for it is a warning and in RV(pending_restart).
  - A pooler that does not come back, or does not do what the new files say, gets the previous files back.
  - C(RELOAD) answers with success even for files with mistakes. It is never believed.
extends_documentation_fragment:
  - dbkeeper.ops._attributes
  - dbkeeper.ops._attributes.action_group
attributes:
  check_mode:
    support: full
    details:
      - What another task may still bring (program, user, certificates, lookup role) is a warning then.
  diff_mode:
    support: full
    details:
      - Passwords, hashes and verifiers are left out.
  idempotent:
    support: partial
    details:
      - V(reloaded) and V(restarted) of O(state) act every time.
options:
  databases:
    description: Names that clients may connect to. A name for all others is refused, since its pools have no bound.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name for clients. Letters, digits, dots, dashes and underscores, as PgBouncer's files demand.
        type: str
        required: true
      host:
        description: Server, several separated by commas, or the directory of its socket.
        type: str
        required: true
      port:
        description: Port of the server.
        type: int
        default: 5432
      dbname:
        description: Name in the server. If not set, that for clients.
        type: str
      pool_size:
        description: Server connections for each role. If not set, C(default_pool_size).
        type: int
      reserve_pool_size:
        description: More for each role whose clients wait. If not set, that of O(settings).
        type: int
      users:
        description: How many roles use it at the same time, each of which has a pool of its own.
        type: int
        default: 1
      max_connections:
        description:
          - Cap of all its pools together.
          - If not set, O(databases[].users) times pool and reserve, and one for lookups.
        type: int
      pool_mode:
        description: If not set, that of O(settings).
        type: str
        choices: [session, transaction, statement]
      server_max_connections:
        description: What the server takes, where it cannot be asked (without O(lookup_role)).
        type: int
      poolers:
        description: How many poolers like this one reach the same server.
        type: int
        default: 1
      options:
        description: More of PgBouncer's connection parameters, such as C(connect_query).
        type: dict
        default: {}
  settings:
    description:
      - PgBouncer's own settings by name. They win over ours, and are marked as pinned.
      - Files, users and the lookup follow from the other options.
    type: dict
    default: {}
  user_settings:
    description: Settings for single roles, such as C(pool_mode), by name.
    type: dict
    default: {}
  lookup_role:
    description:
      - Role that looks verifiers up in the servers, as M(dbkeeper.ops.pg_pooler_role) makes it. Empty means
        nobody but O(userlist).
      - It has no password and gets in by certificate (C(server_tls_cert_file)) or over the socket. PgBouncer cannot
        log in with a verifier of its own choosing, so a password of this role would have to stand in clear text.
    type: str
    default: pgbouncer
  userlist:
    description:
      - SCRAM verifiers by role, for roles that are not looked up.
      - Each must be the very one that the server holds, since PgBouncer logs in with what the client has proven.
        Anything else is refused.
    type: dict
    default: {}
  kept_connections:
    description: Connections that each server keeps for others than poolers, such as backups and monitoring.
    type: int
    default: 10
  restart:
    description:
      - Whether a running pooler may be restarted, which disconnects its clients, for a setting that needs it.
      - V(first_install) restarts one whose files are not ours yet and that has no client, V(when_idle) one that has no
        client.
    type: str
    default: first_install
    choices: [first_install, when_idle, allowed]
  state:
    description:
      - V(started) means configured, running and in effect.
      - V(reloaded) and V(restarted) do so even when nothing has changed. Transactions get ten seconds to end.
      - V(stopped) leaves the files alone.
    type: str
    default: started
    choices: [started, stopped, reloaded, restarted]
  service:
    description: What starts and stops it.
    type: dict
    default: {}
    suboptions:
      manager:
        description: V(daemon) is PgBouncer's own way into the background, for hosts without systemd.
        type: str
        default: systemd
        choices: [systemd, daemon]
      unit:
        description: Name of the unit.
        type: str
        default: pgbouncer.service
  program:
    description: The program.
    type: path
    default: /usr/sbin/pgbouncer
  config_file:
    description: Where the configuration is written.
    type: path
    default: /etc/pgbouncer/pgbouncer.ini
  auth_file:
    description: Where the verifiers are written.
    type: path
    default: /etc/pgbouncer/userlist.txt
  log_file:
    description: Where a daemon writes its log. A unit writes to the journal.
    type: path
    default: /var/log/pgbouncer/pgbouncer.log
  user:
    description: User that it runs as. It should own nothing else, least of all the server.
    type: str
    default: pgbouncer
  timeout_seconds:
    description: How long starting may take.
    type: int
    default: 30
notes:
  - Run it as root. It works as the pooler's user, and as root only to write files and to control the service.
seealso:
  - module: dbkeeper.ops.pg_pooler_role
"""

EXAMPLES = r"""
- name: Pool one database of the server on this host
  dbkeeper.ops.pgbouncer:
    databases:
      - name: app
        host: 127.0.0.1
    settings:
      default_pool_size: 20
      server_tls_ca_file: /etc/pgbouncer/tls/ca.crt
      server_tls_cert_file: /etc/pgbouncer/tls/pgbouncer.crt
      server_tls_key_file: /etc/pgbouncer/tls/pgbouncer.key

- name: Stop it
  dbkeeper.ops.pgbouncer:
    state: stopped
"""

RETURN = r"""
plan:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: str
  sample: [place, reload]
executed:
  description: Whether the plan was executed. False in check mode.
  returned: success
  type: bool
  sample: true
running:
  description: Whether it runs, or would run.
  returned: success
  type: bool
  sample: true
version:
  description: Version of PgBouncer.
  returned: success
  type: str
  sample: 1.24.1
validated:
  description: Whether the files were tried. False only in check mode, where something is still to be installed.
  returned: success
  type: bool
  sample: true
pending_restart:
  description: What takes effect at the next restart, each with the reason.
  returned: success
  type: dict
  sample: {listen_port: "runs with '6432', '6433' is wanted"}
budgets:
  description: For each server that was asked, its connections and who may take them.
  returned: success
  type: list
  elements: dict
  sample:
    - server: 127.0.0.1:5432
      max_connections: 100
      superuser_reserved_connections: 3
      reserved_connections: 0
      kept_connections: 10
      available: 87
      poolers: 1
      databases: {app: 26}
      wanted: 26
file_descriptors:
  description: How many files it may have open at the same time.
  returned: success
  type: int
  sample: 1152
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._engine.pooling.execute import converge
from ..module_utils._engine.pooling.request import MANAGERS, POOL_MODES, RESTARTS, STATES, PoolerRequest
from ..module_utils._module import serve

DATABASE_OPTIONS = {
    "name": {"type": "str", "required": True},
    "host": {"type": "str", "required": True},
    "port": {"type": "int", "default": 5432},
    "dbname": {"type": "str"},
    "pool_size": {"type": "int"},
    "reserve_pool_size": {"type": "int"},
    "users": {"type": "int", "default": 1},
    "max_connections": {"type": "int"},
    "pool_mode": {"type": "str", "choices": list(POOL_MODES)},
    "server_max_connections": {"type": "int"},
    "poolers": {"type": "int", "default": 1},
    "options": {"type": "dict", "default": {}},
}
SERVICE_OPTIONS = {
    "manager": {"type": "str", "default": "systemd", "choices": list(MANAGERS)},
    "unit": {"type": "str", "default": "pgbouncer.service"},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "databases": {"type": "list", "elements": "dict", "default": [], "options": DATABASE_OPTIONS},
            "settings": {"type": "dict", "default": {}},
            "user_settings": {"type": "dict", "default": {}},
            "lookup_role": {"type": "str", "default": "pgbouncer"},
            "userlist": {"type": "dict", "default": {}, "no_log": True},
            "kept_connections": {"type": "int", "default": 10},
            "restart": {"type": "str", "default": "first_install", "choices": list(RESTARTS)},
            "state": {"type": "str", "default": "started", "choices": list(STATES)},
            "service": {"type": "dict", "default": {}, "apply_defaults": True, "options": SERVICE_OPTIONS},
            "program": {"type": "path", "default": "/usr/sbin/pgbouncer"},
            "config_file": {"type": "path", "default": "/etc/pgbouncer/pgbouncer.ini"},
            "auth_file": {"type": "path", "default": "/etc/pgbouncer/userlist.txt"},
            "log_file": {"type": "path", "default": "/var/log/pgbouncer/pgbouncer.log"},
            "user": {"type": "str", "default": "pgbouncer"},
            "timeout_seconds": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )

    def operation() -> dict[str, object]:
        request = PoolerRequest.from_dict({**module.params, **module.params["service"]})
        return converge(request, check=module.check_mode)

    serve(module, operation)


if __name__ == "__main__":
    main()
