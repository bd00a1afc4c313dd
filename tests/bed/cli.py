# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The command line: one verb for each thing a person or a playbook wants done."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import image
from .bed import Bed
from .host import Host
from .machine import prepare
from .names import Site, parse_request
from .process import BedError, ProcessId, molecule_test_ancestor

CHECKOUT = Path(__file__).resolve().parents[2]


def _parser() -> argparse.ArgumentParser:
    about = "Real systemd hosts for the tests."
    parser = argparse.ArgumentParser(prog="python3 -m tests.bed", description=about)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=text, description=text)

    def with_hosts(one: argparse.ArgumentParser) -> argparse.ArgumentParser:
        one.add_argument("--group", default="manual", help="molecule's are the scenario names")
        one.add_argument("names", nargs="*", metavar="NAME", help="default: all hosts of the group")
        return one

    one = verb("up", "make hosts, boot them, wait for ssh")
    one.add_argument("--group", default="manual")
    owner = "the hosts may go once this process is dead; `molecule-test` looks for the one that called us"
    one.add_argument("--owner", metavar="PID", help=owner)
    one.add_argument("hosts", nargs="+", metavar="NAME=RELEASE", help=", ".join(image.RELEASES))
    with_hosts(verb("down", "destroy hosts"))
    one = with_hosts(verb("poweroff", "pull the plug, keep the disk"))
    one.add_argument("--clean", action="store_true", help="shut down in order instead")
    with_hosts(verb("poweron", "boot hosts that are off, wait for ssh"))
    one = with_hosts(verb("reboot", "reboot hosts in order, wait for ssh"))
    one.add_argument("--hard", action="store_true", help="pull the plug and switch on again")
    with_hosts(verb("ssh-config", "print an ssh client configuration (for ssh -F)"))
    verb("list", "all hosts of this checkout, as JSON")
    one = verb("sweep", "remove what dead runs of this checkout left behind")
    one.add_argument("--all", action="store_true", help="remove living hosts too")
    one = verb("image", "build images now, so that `up` need not")
    one.add_argument("releases", nargs="+", metavar="RELEASE", choices=list(image.RELEASES))
    return parser


def _owner(word: str | None) -> ProcessId | None:
    if word is None:
        return None
    if word == "molecule-test":
        return molecule_test_ancestor()
    owner = ProcessId.of(int(word)) if word.isdigit() else None
    if owner is None:
        raise BedError(f"--owner {word}: there is no such process")
    return owner


def _ssh_config(hosts: Sequence[Host]) -> str:
    lines: list[str] = []
    for host in hosts:
        lines += [
            f"Host {host.name}",
            f"  HostName {host.address}",
            "  User root",
            f"  IdentityFile {host.site.private_key}",
            "  IdentitiesOnly yes",
            # Addresses are used again by new hosts with new keys.
            "  StrictHostKeyChecking no",
            "  UserKnownHostsFile /dev/null",
            "  LogLevel ERROR",
            "  ServerAliveInterval 2",
            "  ServerAliveCountMax 3",
        ]
    return "\n".join(lines)


def _run(bed: Bed, arguments: argparse.Namespace) -> Any:
    """Do it and return what is to be printed: data as JSON, text as it is."""
    verb = arguments.verb
    if verb == "up":
        wanted = [parse_request(word) for word in arguments.hosts]
        hosts, changed = bed.up(arguments.group, wanted, _owner(arguments.owner))
        return {"changed": changed, "hosts": [host.describe() for host in hosts]}
    if verb == "image":
        prepare()
        return {release: str(image.ensure(release, bed.say)) for release in arguments.releases}
    if verb == "list":
        return [host.describe() for host in bed.hosts()]
    prepare()
    if verb == "down":
        gone = bed.down(arguments.group, arguments.names)
        return {"changed": bool(gone), "destroyed": gone}
    if verb == "sweep":
        removed = bed.sweep(everything=arguments.all)
        return {"changed": bool(removed), "removed": removed}
    hosts = bed.select(arguments.group, arguments.names)
    if verb == "ssh-config":
        return _ssh_config(hosts)
    if verb == "poweroff":
        bed.power_off(hosts, clean=arguments.clean)
    elif verb == "poweron":
        bed.power_on(hosts)
    else:
        bed.reboot(hosts, hard=arguments.hard)
    return {"changed": True, "hosts": [host.describe() for host in hosts]}


def main(words: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(words)
    bed = Bed(Site(CHECKOUT), say=lambda text: print(text, file=sys.stderr, flush=True))
    try:
        answer = _run(bed, arguments)
    except BedError as problem:
        print(f"bed: {problem}", file=sys.stderr)
        return 1
    print(answer if isinstance(answer, str) else json.dumps(answer, indent=2))
    return 0
