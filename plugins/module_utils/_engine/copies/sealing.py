# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What is sent: a file of the repository, its digest taken on the way, encrypted where that is wished.

With encryption, age or GnuPG reads the file and we read from it; the private key is never here
(fault F07).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from typing import IO

from ..cluster.wishes_copies import Sealing
from ..core.errors import Failed, KeeperError, Refused
from ..core.run import run, start, stop_group
from .objects import Item, source_damaged
from .stores import BLOCK, Throttle

SUFFIXES = {"age": ".age", "gpg": ".gpg"}
_PACKAGES = {"age": "age", "gpg": "gnupg"}


class Outgoing:
    """One file on its way; a :class:`Source`. After :meth:`blocks` its ``plain_digest`` is known."""

    def __init__(self, item: Item, throttle: Throttle, sealer: Sealer | None) -> None:
        self.item = item
        self.size = item.bytes
        self.repeatable = sealer is None
        self.plain_digest = ""
        self.plain_bytes = 0
        self._throttle = throttle
        self._sealer = sealer

    def blocks(self) -> Iterator[bytes]:
        """Raises :class:`Failed` ``copy-source-damaged`` when the file is not what its entry says."""
        inner = self._sealer.sealed(self._plain()) if self._sealer else self._plain()
        yield from inner

    def spend(self, count: int) -> None:
        """See :class:`Source`."""
        self._throttle.spend(count)

    def _plain(self) -> Iterator[bytes]:
        sha, length = hashlib.sha256(), 0
        try:
            with open(self.item.path, "rb", buffering=0) as handle:
                while block := handle.read(BLOCK):
                    sha.update(block)
                    length += len(block)
                    yield block
        except OSError as error:
            raise _damaged(self.item, str(error.strerror)) from error
        self.plain_digest, self.plain_bytes = sha.hexdigest(), length
        if self.item.digest is not None and self.item.digest != self.plain_digest:
            raise _damaged(
                self.item, f"its digest is {self.plain_digest[:16]}…, not {self.item.digest[:16]}…"
            )


def _damaged(item: Item, words: str) -> KeeperError:
    return source_damaged(item.key, item.path, f"{item.path}: {words}")


class Sealer:
    """Encrypts for the recipients of a copy."""

    def __init__(self, wish: Sealing) -> None:
        self.tool = wish.tool
        self.suffix = SUFFIXES[wish.tool]
        self._program = program_of(wish.tool)
        self._home = ""
        self._recipients = wish.recipients
        self._argv: list[str] = []

    def prepare(self) -> None:
        """See that the public keys can be used. Raises :class:`Refused` ``copy-key-unusable``."""
        if self.tool == "age":
            for one in self._recipients:
                self._argv += ["-R" if one.startswith("/") else "-r", one]
            self._argv = [self._program, *self._argv]
        else:
            self._home = tempfile.mkdtemp(prefix="dbkeeper-gpg-")
            self._argv = [*_gpg(self._program, self._home), "--trust-model", "always"]
            for path in self._recipients:
                self._argv += ["--recipient-file", path]
            self._argv += ["--compress-algo", "none", "--encrypt"]
        try:
            for _block in self.sealed(iter([b"dbkeeper"])):
                continue
        except KeeperError as error:
            raise Refused(
                "copy-key-unusable",
                attempted="encrypt for the recipients of the copy",
                happened=error.happened,
                remedy="Correct encryption.recipients: public keys of age (age1…), or files with them; with gpg files "
                "that 'gpg --export' wrote. The private key stays elsewhere.",
            ) from error

    def sealed(self, plain: Iterator[bytes]) -> Iterator[bytes]:
        """The encrypted bytes of what ``plain`` gives. Raises what that raises, ``copy-sealing-failed``."""
        return piped(self._argv, plain, f"encrypt with {self.tool}")

    def close(self) -> None:
        """Nothing stays behind."""
        if self._home:
            _end_agent(self._home)
            shutil.rmtree(self._home, ignore_errors=True)


class Opener:
    """Decrypts with a private key that is given for the moment."""

    def __init__(self, tool: str, identity_file: str | None) -> None:
        self.tool = tool
        program = program_of(tool)
        self._home = ""
        if identity_file is None or not os.path.isfile(identity_file):
            raise Refused(
                "copy-identity-missing",
                attempted="decrypt a copy",
                happened=f"it is encrypted with {tool}, and "
                + ("no private key was given" if identity_file is None else f"{identity_file} is not there"),
                remedy="Bring the private key to this host for the time of the restore and name its file: --identity "
                "FILE (age: the file of age-keygen; gpg: what 'gpg --export-secret-keys' wrote, without a passphrase).",
            )
        if tool == "age":
            self._argv = [program, "--decrypt", "-i", identity_file]
            return
        self._home = tempfile.mkdtemp(prefix="dbkeeper-gpg-")
        self._argv = [*_gpg(program, self._home), "--decrypt"]
        run(
            [*_gpg(program, self._home), "--import", identity_file],
            attempted="read the private key",
            remedy="Give a file that 'gpg --export-secret-keys' wrote.",
        )

    def opened(self, sealed: Iterator[bytes]) -> Iterator[bytes]:
        """The plain bytes. Raises :class:`Failed` ``copy-sealing-failed``: another key, or damaged."""
        return piped(self._argv, sealed, f"decrypt with {self.tool}")

    def close(self) -> None:
        """The key goes from this host again, as far as we brought it."""
        if self._home:
            _end_agent(self._home)
            shutil.rmtree(self._home, ignore_errors=True)


def program_of(tool: str) -> str:
    """Where it is. Raises :class:`Refused` ``copy-tool-missing``."""
    found = shutil.which(tool, path=f"{os.environ.get('PATH', '')}:/usr/local/bin:/usr/bin:/bin")
    if found is None:
        raise Refused(
            "copy-tool-missing",
            attempted="encrypt or decrypt a copy",
            happened=f"the program {tool} is not on this host",
            remedy=f"Install the package {_PACKAGES[tool]}.",
        )
    return found


def _gpg(program: str, home: str) -> list[str]:
    return [
        program,
        "--homedir",
        home,
        "--batch",
        "--no-tty",
        "--quiet",
        "--yes",
        "--pinentry-mode",
        "loopback",
    ]


def _end_agent(home: str) -> None:
    """The agent that gpg starts for a home directory ends with it."""
    with contextlib.suppress(KeeperError):
        run(["gpgconf", "--homedir", home, "--kill", "all"], attempted="end the agent of gpg")


def piped(argv: list[str], source: Iterator[bytes], attempted: str) -> Iterator[bytes]:
    """What a program makes of a stream. Raises what the stream raises, :class:`Failed` ``copy-sealing-failed``."""
    process = start(argv, stdin=subprocess.PIPE)
    faults: list[BaseException] = []
    words: list[bytes] = []
    feeder = threading.Thread(target=_feed, args=(process.stdin, source, faults), daemon=True)
    listener = threading.Thread(target=_listen, args=(process.stderr, words), daemon=True)
    feeder.start()
    listener.start()
    try:
        if process.stdout is None:
            raise ValueError("the program was started without a pipe")
        while block := process.stdout.read(BLOCK):
            yield block
        status = process.wait()
        feeder.join()
        listener.join()
    except BaseException:
        stop_group(process)
        feeder.join()
        listener.join()
        raise
    finally:
        if process.stdout is not None:
            process.stdout.close()
    for fault in faults:
        # It ended before it had taken everything: its own words tell why, below.
        if not isinstance(fault, BrokenPipeError):
            raise fault
    if status != 0 or faults:
        said = b"".join(words).decode(errors="replace").strip()[-600:]
        raise Failed(
            "copy-sealing-failed",
            attempted=attempted,
            happened=f"{argv[0]} ended with status {status}: {said or 'no message'}",
            remedy="When decrypting: give the private key that belongs to one of the recipients; if it is that one, "
            "the stored object is damaged, and another copy is needed. When encrypting: see the tool's words.",
        )


def _feed(target: IO[bytes] | None, source: Iterator[bytes], faults: list[BaseException]) -> None:
    if target is None:
        return
    try:
        for block in source:
            target.write(block)
    except BaseException as error:
        faults.append(error)
    try:
        target.close()
    except OSError as error:
        faults.append(error)


def _listen(stream: IO[bytes] | None, words: list[bytes]) -> None:
    if stream is not None:
        words.append(stream.read())
        stream.close()
