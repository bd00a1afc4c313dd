# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""How long what poolers of this host show is still good: the line ``pooler-certificate`` of ``dbkeeper check``.

What is judged is what clients are shown, not a file: a pooler that has not read its new one still shows the one
before. Whoever checks may be another user than the pooler's, who cannot read its files and need not: where it
listens is the kernel's to say.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import ssl
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from ..cluster.config import ClusterConfig
from ..core.check_words import CHECK_WORDS, told
from ..core.clock import utc_now
from ..core.errors import Refused
from ..core.privilege import as_root
from ..core.sayings import Both, both, joined
from ..settings.certificates import FAILED, OK, WARNING, ends, outlook
from ..settings.readback import where_it_runs
from ..settings.x509 import Certificate, read_certificate
from .seen import LISTENING, is_pooler, socket_inodes, uid_of
from .wire import certificate_shown

#: Where this host's poolers have their files; what somebody tries out of another directory is not the host's.
CONFIGURED_IN = "/etc/pgbouncer"
_STATES = (OK, WARNING, FAILED)
#: The role that renews it has another name here.
_WORDS = {"certificate_over": "pooler_over", "certificate_soon": "pooler_soon"}


@dataclass(frozen=True)
class Listener:
    """A listening TCP socket of this host."""

    address: str
    port: int
    uid: int
    inode: str

    @property
    def reached_at(self) -> str:
        """An address of this host that leads to it."""
        given = ipaddress.ip_address(self.address)
        if given.is_unspecified:
            return "127.0.0.1" if given.version == 4 else "::1"
        return self.address


@dataclass(frozen=True)
class Door:
    """Where clients come in. ``certificate`` is None where TLS is not offered, or where ``error`` says why not."""

    port: int
    beyond_loopback: bool
    certificate: Certificate | None = None
    error: str = ""


def pooler_certificate_checks(config: ClusterConfig) -> list[dict[str, str]]:
    """The check ``pooler-certificate``, as name, state and text; none where no pooler listens on TCP."""
    return judge(look(CONFIGURED_IN, {where_it_runs(config).port}), utc_now())


def look(directory: str, others: set[int]) -> list[Door]:
    """Ask each pooler that was started with a file of ``directory`` for its certificate. Changes nothing.

    ``others``: ports that are no pooler's.
    """
    found: dict[int, Door] = {}
    for listener in _poolers(directory, others):
        wide = not ipaddress.ip_address(listener.address).is_loopback
        known = found.get(listener.port)
        # Several addresses, or several processes at one port, show the same.
        found[listener.port] = (
            replace(known, beyond_loopback=known.beyond_loopback or wide) if known else _ask(listener, wide)
        )
    return [found[port] for port in sorted(found)]


def judge(doors: list[Door], now: datetime) -> list[dict[str, str]]:
    """Pure: one line for all of them, none for none."""
    if not doors:
        return []
    said = [_judge(door, now) for door in doors]
    each = [
        both(CHECK_WORDS, "pooler_at", port=door.port, what=Both(one["text"], one["text_ja"]))
        for door, one in zip(doors, said)
    ]
    whole = joined(each)
    state = max((one["state"] for one in said), key=_STATES.index)
    return [{"name": said[0]["name"], "state": state, "text": whole.en, "text_ja": whole.ja}]


def _judge(door: Door, now: datetime) -> dict[str, str]:
    if door.error:
        return told("pooler-certificate", WARNING, "unknown_why", why=door.error)
    if door.certificate is None:
        if door.beyond_loopback:
            return told("pooler-certificate", WARNING, "pooler_tls_off_wide")
        return told("pooler-certificate", OK, "pooler_tls_off")
    state, word = outlook(door.certificate, now)
    values = ends(door.certificate, now, "?")
    return told("pooler-certificate", state, _WORDS.get(word, word), **values)


def _ask(listener: Listener, wide: bool) -> Door:
    try:
        shown = certificate_shown(listener.reached_at, listener.port)
        if shown is None:
            return Door(listener.port, wide)
        pem = ssl.DER_cert_to_PEM_cert(shown)
        return Door(listener.port, wide, read_certificate(pem, source=f"at port {listener.port}"))
    except OSError as error:
        return Door(listener.port, wide, error=str(error.strerror or error))
    except Refused as error:
        return Door(listener.port, wide, error=error.happened)


def _poolers(directory: str, others: set[int]) -> Iterator[Listener]:
    """Listening sockets of every such PgBouncer that runs in this host's network."""
    ours = {listener.inode for listener in _listeners("self")}
    for entry in sorted(filter(str.isdigit, os.listdir("/proc")), key=int):
        # It may end at any moment.
        with contextlib.suppress(OSError), as_root():
            if not is_pooler(int(entry)) or not _configured_in(int(entry), directory):
                continue
            held, uid = socket_inodes(int(entry)), uid_of(int(entry))
            # A container has a network of its own.
            for listener in [one for one in _listeners(entry) if one.inode in ours]:
                # Which sockets another user's process holds is hidden; that they are that user's is not.
                if listener.inode in held if held else listener.uid == uid and listener.port not in others:
                    yield listener


def _configured_in(pid: int, directory: str) -> bool:
    with open(f"/proc/{pid}/cmdline", "rb") as handle:
        arguments = handle.read().decode(errors="replace").split("\0")[1:]
    return any(os.path.dirname(argument) == directory for argument in arguments)


def _listeners(process: str) -> list[Listener]:
    found: dict[str, Listener] = {}
    # The kernel's list is not one moment's: a look may miss a line while others come and go.
    for family in ("tcp", "tcp6") * 3:
        with contextlib.suppress(FileNotFoundError):
            with open(f"/proc/{process}/net/{family}", encoding="ascii") as handle:
                found.update((one.inode, one) for one in listeners(handle.read()))
    return list(found.values())


def listeners(table: str) -> list[Listener]:
    """Pure. Source: proc_net(5), tcp: local address, state, uid and inode are fields 2, 4, 8 and 10."""
    found = []
    for line in table.splitlines():
        fields = line.split()
        if len(fields) > 9 and fields[3] == LISTENING:
            address, dummy, port = fields[1].partition(":")
            found.append(Listener(_address(address), int(port, 16), int(fields[7]), fields[9]))
    return found


def _address(text: str) -> str:
    """Words of four bytes, each in the machine's order."""
    raw = bytes.fromhex(text)
    words = [
        int.from_bytes(raw[at : at + 4], "big").to_bytes(4, sys.byteorder) for at in range(0, len(raw), 4)
    ]
    given = ipaddress.ip_address(b"".join(words))
    mapped = getattr(given, "ipv4_mapped", None)
    return str(mapped or given)
