# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Our settings of PgBouncer with the reason for each, by version. Pure.

Source: PgBouncer's config.md and NEWS of 1.18 and 1.24. What is given wins and is marked as pinned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..core.errors import Refused
from .request import ATTEMPTED, LOOKUP_SCHEMA, PLACE, PoolerRequest

Version = tuple[int, ...]

#: Oldest version whose SCRAM pass-through, TLS reload and strict parsing are as described here.
OLDEST: Version = (1, 18)
PREPARED_STATEMENTS: Version = (1, 21)
AUTH_QUERY = f"SELECT role_name, verifier FROM {LOOKUP_SCHEMA}.lookup($1)"

GROUPS = ("Where it listens", "Who gets in", "Encryption", "Pools", "Time-outs", "Log", "Others")


@dataclass(frozen=True)
class Setting:
    """A line of the file: why it is so, and whether it was given by hand."""

    name: str
    value: str
    group: str
    reason: str = ""
    pinned: bool = False


def parse_version(said: str) -> Version:
    """From what ``pgbouncer --version`` says. Raises :class:`Refused` (``pooler-version``)."""
    words = said.split()
    if len(words) >= 2 and words[0] == "PgBouncer":
        numbers = words[1].split(".")
        if all(number.isdigit() for number in numbers):
            version = tuple(int(number) for number in numbers)
            if version >= OLDEST:
                return version
    raise Refused(
        "pooler-version",
        attempted=ATTEMPTED,
        happened=f"the program says {' '.join(words[:2])!r}; PgBouncer {'.'.join(map(str, OLDEST))} or newer is needed",
        remedy="Install a newer package, or correct the path of the program.",
    )


def final_settings(request: PoolerRequest, version: Version) -> list[Setting]:
    """The section [pgbouncer], in order: ours, what was given in place of ours, what was given beyond."""
    ours = {setting.name: setting for setting in _ours(request, version)}
    found = []
    for name, setting in ours.items():
        if name in request.settings:
            value = str(request.settings[name])
            same = value == setting.value
            setting = Setting(name, value, setting.group, setting.reason if same else "", not same)
        found.append(setting)
    found += [
        # Certificates can only be given, which is no news.
        Setting(name, str(value), _group_of(name), pinned=not name.endswith("_file"))
        for name, value in request.settings.items()
        if name not in ours
    ]
    return sorted(found, key=lambda setting: GROUPS.index(setting.group))


def number(settings: Mapping[str, str], name: str, default: int) -> int:
    """A setting that counts something. Raises :class:`Refused` (``pooler-option-wrong``)."""
    text = str(settings.get(name, default))
    if not text.isdigit() or (int(text) == 0 and name == "default_pool_size"):
        raise Refused(
            "pooler-option-wrong",
            attempted=ATTEMPTED,
            happened=f"settings.{name} is {text!r}; it must be a whole number"
            + (" from 1 (0 would mean without limit)" if name == "default_pool_size" else ""),
            remedy="Correct it, then run the same again.",
        )
    return int(text)


POOL_SIZE = 20
RESERVE_POOL_SIZE = 5


def _ours(request: PoolerRequest, version: Version) -> list[Setting]:
    where, who, tls, pools, times, log = GROUPS[:6]
    found = [Setting(name, value, where) for name, value in PLACE.items()]
    found += [
        Setting("pidfile", f"{request.setting('unix_socket_dir')}/pgbouncer.pid", where),
        Setting("auth_type", "scram-sha-256", who, "no password and no MD5 hash is sent or stored"),
        Setting("auth_file", request.auth_file, who, "SCRAM verifiers only"),
        Setting("admin_users", "", who, "the console is for this pooler's own user, over its socket"),
        Setting("client_tls_protocols", "secure", tls, "TLS 1.2 and newer"),
        Setting("server_tls_protocols", "secure", tls, "TLS 1.2 and newer"),
        Setting("pool_mode", "transaction", pools, "a server connection is held for a transaction only"),
        Setting("max_client_conn", "1000", pools, "clients wait here, not in the server"),
        Setting("default_pool_size", str(POOL_SIZE), pools, "server connections for each database and role"),
        Setting("reserve_pool_size", str(RESERVE_POOL_SIZE), pools, "more for a pool whose clients wait"),
        Setting("reserve_pool_timeout", "3", pools, "seconds that a client waits before that"),
        Setting(
            "ignore_startup_parameters", "extra_float_digits", pools, "JDBC sends it; it changes nothing"
        ),
        Setting("server_connect_timeout", "5", times, "an unreachable server is noticed early"),
        Setting("server_login_retry", "3", times, "a server that was restarted is used again early"),
        Setting("query_wait_timeout", "30", times, "a client learns that no connection is to be had"),
        Setting("client_login_timeout", "15", times, "half-open clients hold no place"),
        Setting("tcp_keepidle", "60", times, "dead peers are noticed within two minutes"),
        Setting("tcp_keepintvl", "10", times),
        Setting("tcp_keepcnt", "6", times),
    ]
    if request.lookup_role is not None:
        found.append(Setting("auth_query", AUTH_QUERY, who, f"only {request.lookup_role} may call it"))
    given = request.settings
    if given.get("client_tls_cert_file"):
        found.append(Setting("client_tls_sslmode", "require", tls, "no password or row in clear text"))
    if given.get("server_tls_ca_file"):
        found.append(Setting("server_tls_sslmode", "verify-full", tls, "the server is who it says it is"))
    if version >= PREPARED_STATEMENTS:
        reason = "named statements work in transaction pooling"
        found.append(Setting("max_prepared_statements", "200", pools, reason))
    if request.manager == "daemon":
        found.append(Setting("logfile", request.log_file, log))
    return found


def _group_of(name: str) -> str:
    where, who, tls, pools, times, log, others = GROUPS
    if "_tls_" in name:
        return tls
    if name.startswith(("auth_", "admin_", "stats_users")):
        return who
    if name.startswith(("unix_socket_", "listen_", "so_reuseport")):
        return where
    if name.startswith(("log_", "syslog", "verbose", "stats_period")):
        return log
    if name.startswith(("tcp_", "dns_")) or name.endswith(("_timeout", "_lifetime", "_delay", "_retry")):
        return times
    if "pool" in name or name.startswith(("max_", "min_", "server_reset", "server_check")):
        return pools
    return others
