# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What every module shares: option fragments, the owner's identity, waiting for a busy one, errors, results.

The only place where an engine error becomes ``fail_json``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ._engine.cluster.config import ClusterConfig
from ._engine.core.errors import KeeperError, Refused, unexpected
from ._engine.core.privilege import assume, owner_of, started_as_root
from ._engine.watch.record import MODULES, recording

CONFIG_DIRECTORY = "/etc/dbkeeper"
_POLL_SECONDS = 0.5

CLUSTER_OPTIONS: dict[str, Any] = {
    "cluster": {"type": "str", "default": "main"},
    "config": {"type": "path"},
}

# The names of community.postgresql.
CONNECTION_OPTIONS: dict[str, Any] = {
    "login_host": {"type": "str"},
    "login_port": {"type": "int"},
    "login_unix_socket": {"type": "path"},
    "login_user": {"type": "str"},
    "login_password": {"type": "str", "no_log": True},
    "login_db": {"type": "str", "default": "postgres"},
    "ssl_mode": {
        "type": "str",
        "default": "prefer",
        "choices": ["allow", "disable", "prefer", "require", "verify-ca", "verify-full"],
    },
    "ca_cert": {"type": "path"},
    "ssl_cert": {"type": "path"},
    "ssl_key": {"type": "path"},
    "connect_timeout": {"type": "int", "default": 10},
}

# What the modules that report on a server have in common.
REPORT_OPTIONS: dict[str, Any] = {
    "state_directory": {"type": "path", "default": "/var/lib/dbkeeper/report"},
    "time_budget": {"type": "int", "default": 60},
    "accepted": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "id": {"type": "str", "required": True},
            "owner": {"type": "str"},
            "reason": {"type": "str"},
            "until": {"type": "str"},
        },
    },
}

INSTANCE_OPTIONS: dict[str, Any] = {
    "cluster": {"type": "str", "required": True},
    "version": {"type": "str", "required": True},
    "data_directory": {"type": "path", "required": True},
    "bin_directory": {"type": "path", "required": True},
    "config_file": {"type": "path"},
    "socket_directory": {"type": "path", "required": True},
    "port": {"type": "int", "default": 5432},
    "superuser": {"type": "str", "default": "postgres"},
    "backup_user": {"type": "str"},
    "state_directory": {"type": "path"},
    "service": {
        "type": "dict",
        "required": True,
        "options": {
            "manager": {"type": "str", "required": True, "choices": ["systemd", "pg_ctlcluster", "pg_ctl"]},
            "unit": {"type": "str"},
        },
    },
}

# What is kept and what is looked for on a host, as core/presence.py takes it.
FILE_OPTIONS: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "content": {"type": "str", "required": True},
    "mode": {"type": "str", "default": "0644"},
}

PRESENCE_OPTIONS: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "path": {"type": "path"},
    "program": {"type": "str"},
    "library": {"type": "str"},
    "user": {"type": "str"},
    "content": {"type": "str"},
    "mode": {"type": "str", "default": "0644"},
}


def config_path(params: dict[str, Any]) -> str:
    """The file that describes the cluster."""
    return params["config"] or f"{CONFIG_DIRECTORY}/{params['cluster']}.json"


def load_config(params: dict[str, Any]) -> ClusterConfig:
    """The cluster that O(instance) describes, or that the host command knows by its name."""
    if params.get("instance"):
        return ClusterConfig.from_dict({"format": 1, **params["instance"]}, source="the option instance")
    return ClusterConfig.load(config_path(params))


def connection_options(params: dict[str, Any], config: ClusterConfig | None) -> dict[str, Any]:
    """The login_* options; what was not given is taken from the cluster's description."""
    given = {name: params[name] for name in CONNECTION_OPTIONS if params[name] is not None}
    if config is None:
        return given
    place = {} if "login_host" in given else {"login_unix_socket": config.socket_directory}
    return {"login_port": config.port, "login_user": config.superuser, **place, **given}


def become_owner(config: ClusterConfig) -> None:
    """Work as the owner of the cluster from here on; root's powers stay for service control only."""
    directory = config.data_directory
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    assume(owner_of(directory))


def serve(
    module: AnsibleModule,
    operation: Callable[[], dict[str, Any]],
    *,
    wait_seconds: int = 0,
    explain: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> NoReturn:
    """Do the operation and leave the module with its result, or with its error in Ansible's shape.

    An operation refused as ``busy`` is tried again until ``wait_seconds`` have passed: after a lost
    connection the one that is still running does the work, and the second try finds it done.
    ``explain`` makes more results from an error's data.
    """
    try:
        result = _kept(module, lambda: _patiently(operation, wait_seconds))
    except KeeperError as error:
        _back_to_root()
        data = error.to_dict()
        module.fail_json(
            msg=f"{error.attempted}: {error.happened.rstrip('.')}. {error.remedy}",
            error=data,
            **(explain(data) if explain else {}),
        )
    _back_to_root()
    for warning in result.pop("warnings", []):
        module.warn(warning)
    if not module._diff:
        result.pop("diff", None)
    module.exit_json(**result)


def _kept(module: AnsibleModule, operation: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do it, and keep in the history what it did, where the module does what is worth that."""
    name = MODULES.get(str(module._name).rpartition(".")[2])
    if name is None or module.check_mode:
        return operation()
    try:
        directory = _history_directory(module.params)
    except (KeeperError, OSError, KeyError):
        # The operation says it itself, with all its parts.
        return operation()
    if module.params.get("state") == "undone":
        name = "undo"
    elif module.params.get("trial"):
        name = "trial"
    with recording(
        directory,
        name,
        door="ansible",
        complain=module.warn,
    ) as run:
        result = operation()
        run.done(result)
    return result


def _history_directory(params: dict[str, Any]) -> str:
    """Where runs are kept, as whom they are; on a repository's host that is the repository."""
    if params.get("root"):
        directory = f"{params['root']}/{params['cluster']}"
        assume(owner_of(directory))
        return directory
    config = load_config(params)
    become_owner(config)
    return config.state_directory


def _patiently(operation: Callable[[], dict[str, Any]], wait_seconds: int) -> dict[str, Any]:
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            return operation()
        except Refused as error:
            if error.code != "busy" or time.monotonic() >= deadline:
                raise
        except OSError as error:
            raise unexpected(error, "do what the module was asked for") from error
        time.sleep(min(_POLL_SECONDS, max(0.0, deadline - time.monotonic())))


def _back_to_root() -> None:
    """Ansible removes its temporary files when the module ends; they belong to whom it was started as."""
    if started_as_root():
        os.seteuid(0)
        os.setegid(0)
        os.setgroups([0])
