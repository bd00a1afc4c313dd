# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The way to a repository elsewhere: one ssh, and a conversation with the door behind it.

Options are ours and complete (``-F none``): no file of a user's changes how the host of the repository is known. The
first ssh leaves a connection behind for a while (ControlPersist), so that the push of the next segment pays no
handshake. This file is imported for every segment: few imports.
"""

from __future__ import annotations

import os
import re
import time

from ...core.errors import Failed, KeeperError, Refused
from .frames import END, VERSION, Broken, Pipes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

PROGRAM = "ssh"
_URL = re.compile(
    r"ssh://([A-Za-z0-9_][A-Za-z0-9_.-]*)@(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_][A-Za-z0-9_.-]*)(?::(\d+))?(/.+)"
)
_ALIVE_SECONDS = 15
_ALIVE_COUNT = 4
_CONNECT_SECONDS = 20
_PERSIST_SECONDS = 300
#: The door waits for a disk at times; ssh itself ends a dead connection long before.
_STALL_SECONDS = 600.0
#: sockaddr_un takes 108 bytes, and ssh writes 17 more behind the name while it makes the socket.
_LONGEST_SOCKET = 108 - 1 - 17
_HINTS = (
    (
        "Host key verification failed",
        "its key is not the one in {known_hosts}: set up anew, or another host",
    ),
    ("Permission denied", "its sshd does not take the key {identity}"),
    ("Connection refused", "nothing listens there"),
    ("timed out", "it did not answer"),
    ("Could not resolve", "its name is not known"),
)


class Way:
    """Where a repository is and how it is reached; see :meth:`open`."""

    def __init__(self, url: str, ssh: Mapping[str, Any], state_directory: str) -> None:
        match = _URL.fullmatch(url)
        if match is None:
            raise Refused(
                "config-malformed",
                attempted=f"reach the repository {url}",
                happened="it is not of the form ssh://user@host[:port]/path",
                remedy="Correct repository in the cluster's description, or run the backup role again.",
            )
        self.url = url
        self.user, host, port, self.path = match.groups()
        self.host = host.strip("[]")
        self.port = int(port or 22)
        self.identity_file = str(ssh["identity_file"])
        self.known_hosts_file = str(ssh["known_hosts_file"])
        self.state_directory = state_directory

    def argv(self) -> list[str]:
        """The command line; it holds no secret, and no command: the key has one."""
        options = {
            "IdentityFile": self.identity_file,
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "UserKnownHostsFile": self.known_hosts_file,
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "UpdateHostKeys": "no",
            "BatchMode": "yes",
            "PreferredAuthentications": "publickey",
            "ConnectTimeout": str(_CONNECT_SECONDS),
            "ServerAliveInterval": str(_ALIVE_SECONDS),
            "ServerAliveCountMax": str(_ALIVE_COUNT),
            "TCPKeepAlive": "yes",
            "ClearAllForwardings": "yes",
            "ForwardAgent": "no",
            "ForwardX11": "no",
            "RequestTTY": "no",
            "Compression": "no",
            "EscapeChar": "none",
            "LogLevel": "ERROR",
        }
        if socket := self._socket():
            options |= {
                "ControlMaster": "auto",
                "ControlPath": socket,
                "ControlPersist": str(_PERSIST_SECONDS),
            }
        words = [PROGRAM, "-F", "none", "-T", "-p", str(self.port), "-l", self.user]
        for name, value in options.items():
            words += ["-o", f'{name}="{value}"' if name.endswith(("File", "Path")) else f"{name}={value}"]
        return [*words, "--", self.host]

    def _socket(self) -> str | None:
        """Where the connection that stays behind is found; None where there can be none."""
        # Short, and another one for another way: a change of the configuration must not meet an old connection.
        socket = (
            f"{self.state_directory}/ssh-{_short(f'{self.url} {self.identity_file} {self.known_hosts_file}')}"
        )
        fits = len(os.fsencode(socket)) <= _LONGEST_SOCKET and " " not in socket and "%" not in socket
        return socket if fits else None

    def part(self) -> None:
        """End the connection that stays behind: the key has other rights now, and it has the old ones."""
        if socket := self._socket():
            words = [
                PROGRAM,
                "-F",
                "none",
                "-q",
                "-o",
                f'ControlPath="{socket}"',
                "-O",
                "exit",
                "--",
                self.host,
            ]
            nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            try:
                os.waitpid(_spawn(words, (nowhere, nowhere, nowhere)), 0)
            except OSError:
                # Nothing to be parted from.
                return
            finally:
                os.close(nowhere)

    def open(self, attempted: str) -> Conversation:
        """Start ssh; what goes wrong is told by the first answer. Raises :class:`Failed` ``program-missing``."""
        return Conversation(self, attempted)


class Conversation:
    """A running ssh with the door at its other end. Not for several threads; see client.py for that."""

    def __init__(self, way: Way, attempted: str) -> None:
        self._way = way
        self.attempted = attempted
        self.begun = time.monotonic()
        self.door: dict[str, Any] | None = None
        self.pid = 0
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        self._words, theirs_err = os.pipe()
        try:
            self.pid = _spawn(way.argv(), (theirs_in, theirs_out, theirs_err))
        except OSError as error:
            for descriptor in (ours_out, ours_in, self._words):
                os.close(descriptor)
            raise Failed(
                "program-missing",
                attempted=attempted,
                happened=f"{PROGRAM} cannot be started: {error.strerror}",
                remedy="Install the package openssh-client.",
            ) from error
        finally:
            for descriptor in (theirs_in, theirs_out, theirs_err):
                os.close(descriptor)
        self.pipes = Pipes(ours_in, ours_out, stall_seconds=_STALL_SECONDS)

    def greet(self, cluster: str) -> None:
        """The first words; not waited for."""
        try:
            self.pipes.say({"door": VERSION, "cluster": cluster})
        except (Broken, OSError) as error:
            raise self.lost(error) from error

    def ask(self, request: dict[str, Any]) -> None:
        """Send a request; not waited for."""
        try:
            self.pipes.say(request)
        except (Broken, OSError) as error:
            raise self.refusal() or self.lost(error) from error

    def answer(self) -> dict[str, Any]:
        """The next answer. Raises what the door refused, or :class:`Failed` ``repository-unreachable``."""
        if self.door is None:
            self.door = self._answer()
        return self._answer()

    def refusal(self) -> KeeperError | None:
        """What the door said before it hung up, None when nothing was said."""
        try:
            while True:
                self.answer()
        except KeeperError as error:
            return None if error.code in ("repository-unreachable", "door-protocol") else error

    def piece(self) -> bytes | dict[str, Any]:
        """The next piece of a file, or what ends it."""
        try:
            return self.pipes.read_piece()
        except (Broken, OSError) as error:
            raise self.lost(error) from error

    def send(self, kind: bytes, content: bytes | memoryview) -> None:
        """A frame of a file that the door asked for."""
        try:
            self.pipes.write(kind, content)
        except (Broken, OSError) as error:
            raise self.refusal() or self.lost(error) from error

    def end(self, value: dict[str, Any]) -> None:
        """The end of a file's pieces."""
        try:
            self.pipes.say(value, END)
        except (Broken, OSError) as error:
            raise self.refusal() or self.lost(error) from error

    def _answer(self) -> dict[str, Any]:
        try:
            value = self.pipes.read_word()
            if value is None:
                raise Broken("it hung up")
        except (Broken, OSError) as error:
            raise self.lost(error) from error
        if value.get("ok") is True:
            return value
        refused = _as_error(value.get("error"), self.attempted)
        if refused.code == "door-closed":
            self._way.part()
        raise refused

    def lost(self, error: Exception) -> KeeperError:
        """Why there is no answer, in ssh's words when it has some (faults E01, E02)."""
        noise = self.pipes.noise
        words = self.close()
        way = self._way
        where = f"{way.user}@{way.host}, port {way.port}"
        # Where a door has answered, half a frame is a way that was cut (fault E04).
        if noise and not words and self.door is None:
            return Failed(
                "door-protocol",
                attempted=self.attempted,
                happened=f"what answers at {where} is no door of dbkeeper; it said {noise[:60]!r}",
                remedy="The key's line in authorized_keys there must have the forced command 'dbkeeper door ...', and "
                "nothing may write to standard output before it (a shell's profile): run the backup role again.",
            )
        hint = next((text for mark, text in _HINTS if mark in words), "")
        hint = hint.format(known_hosts=way.known_hosts_file, identity=way.identity_file)
        said = " / ".join(line.strip() for line in words.splitlines() if line.strip())[-600:]
        return Failed(
            "repository-unreachable",
            attempted=self.attempted,
            happened=f"{where}: {'; '.join(text for text in (hint, said or str(error)) if text)}",
            remedy="Nothing is lost: WAL stays on the server until it is stored, and what had begun is done again. See "
            f"that the host is up and lets this key in, as the cluster's owner: ssh -v -p {way.port} -i "
            f"{way.identity_file} -o UserKnownHostsFile={way.known_hosts_file} {way.user}@{way.host}",
            details={"host": way.host, "port": way.port, "user": way.user},
        )

    def close(self) -> str:
        """Hang up, and what ssh said. No effect when it was done."""
        if not self.pid:
            return ""
        for descriptor in (self.pipes.target, self.pipes.source):
            os.close(descriptor)
        pid, self.pid = self.pid, 0
        words = _last_words(self._words, pid)
        os.close(self._words)
        return words


def _spawn(argv: list[str], theirs: tuple[int, int, int]) -> int:
    """Start ssh with nothing of ours but three pipes: it outlives us, and so would what it holds open.

    (A logger that waits for the end of the server's standard error would wait for it for ever.)
    """
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                os.set_inheritable(int(name), False)
            except OSError:
                # The descriptor of this very listing.
                continue
    environment = {"PATH": os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin"), "LC_ALL": "C", "HOME": "/"}
    actions = [(os.POSIX_SPAWN_DUP2, descriptor, number) for number, descriptor in enumerate(theirs)]
    return os.posix_spawnp(PROGRAM, argv, environment, file_actions=actions)


def _last_words(stream: int, pid: int) -> str:
    """Standard error to its end: the end of ssh, which is made sure of."""
    import select

    words, deadline = b"", time.monotonic() + 5.0
    killed = False
    while True:
        if select.select([stream], [], [], 0.05)[0]:
            block = os.read(stream, 4096)
            words += block
            if not block:
                break
        done, _dummy = os.waitpid(pid, os.WNOHANG)
        if done:
            # The connection that stays behind must not keep us waiting for the end of its words.
            if select.select([stream], [], [], 0)[0]:
                words += os.read(stream, 65536)
            return words.decode(errors="replace")
        if time.monotonic() > deadline and not killed:
            os.kill(pid, 9)
            killed = True
    os.waitpid(pid, 0)
    return words.decode(errors="replace")


def _as_error(value: object, attempted: str) -> KeeperError:
    """An error of the door as our own."""
    if not isinstance(value, dict):
        value = {}
    kind = Failed if value.get("touched") else Refused
    return kind(
        str(value.get("code", "door-refused")),
        attempted=str(value.get("attempted", attempted)),
        happened=str(value.get("happened", "the door said no")),
        remedy=str(value.get("remedy", "Read door.log on the host of the repository.")),
        details=value.get("details") if isinstance(value.get("details"), dict) else {},
    )


def _short(text: str) -> str:
    from hashlib import sha256

    return sha256(text.encode()).hexdigest()[:10]
