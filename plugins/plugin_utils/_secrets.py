# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The controller's secret store, and the only form in which a password leaves it: a SCRAM verifier.

One file a secret, readable by its owner only, made once and never changed. Files may be encrypted with
ansible-vault at any time: they are read through Ansible's own loader. Controller only.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
import re
import secrets
import stat
import string
import stringprep
import tempfile
import unicodedata
from collections.abc import Callable
from urllib.parse import quote

from ..module_utils._engine.core.errors import Refused
from ..module_utils._engine.core.files import fsync_directory

#: Letters and digits only: what needs no quoting in any connection string, configuration file or shell.
_ALPHABET = string.ascii_letters + string.digits
_SHORTEST = 12
_ITERATIONS = 4096
_SALT_BYTES = 16
_SALT_KEY = "scram-salt.key"
_VERIFIER = re.compile(r"SCRAM-SHA-256\$\d+:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+")


class Store:
    """A directory of secrets. ``read_text`` reads a file and takes ansible-vault's envelope off.

    With ``keep`` False (check mode) a missing secret is made up and forgotten: nothing is written.
    """

    def __init__(self, root: str, read_text: Callable[[str], str], *, keep: bool = True) -> None:
        self.root = os.path.abspath(os.path.expanduser(root))
        self._read_text = read_text
        self._keep = keep

    def path(self, name: str) -> str:
        """Where the secret is. Parts of a name are separated by slashes; odd letters are escaped.

        Raises :class:`Refused` ``secret-name-invalid``.
        """
        parts = name.split("/")
        if any(part in ("", ".", "..") for part in parts):
            raise Refused(
                "secret-name-invalid",
                attempted="find a secret in the secret store",
                happened=f"{name!r} has a part that is empty or a dot",
                remedy="Name it with words separated by slashes, such as db1/main/app.",
            )
        return os.path.join(self.root, *(quote(part, safe="@+=,") for part in parts))

    def get(self, name: str) -> str | None:
        """The secret, or None when there is none. Raises :class:`Refused` ``secret-exposed``."""
        path = self.path(name)
        try:
            mode = os.stat(path).st_mode
        except FileNotFoundError:
            return None
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise Refused(
                "secret-exposed",
                attempted=f"read the secret {name}",
                happened=f"{path} can be read by others (mode {stat.S_IMODE(mode):04o})",
                remedy=f"See who may have read it, make a new one if in doubt, then: chmod 0600 {path}",
                details={"path": path},
            )
        return self._read_text(path).rstrip("\n")

    def make(self, name: str, create: Callable[[], str]) -> str:
        """The secret; made by ``create`` where there is none. Of two that make it at once the first wins."""
        found = self.get(name)
        if found is not None:
            return found
        value = create()
        if not self._keep:
            return value
        path = self.path(name)
        self._make_directories(os.path.dirname(path))
        descriptor, temporary = tempfile.mkstemp(prefix=".tmp-", dir=os.path.dirname(path))
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
                handle.write(f"{value}\n")
                handle.flush()
                os.fsync(handle.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
        finally:
            os.unlink(temporary)
        fsync_directory(os.path.dirname(path))
        return self.get(name) or value

    def password(self, name: str, length: int = 32) -> str:
        """A password of letters and digits; 32 of them hold 190 bits.

        Raises :class:`Refused` ``secret-too-short``.
        """
        if length < _SHORTEST:
            raise Refused(
                "secret-too-short",
                attempted=f"make the secret {name}",
                happened=f"a length of {length} was asked for",
                remedy=f"Ask for at least {_SHORTEST} letters.",
            )
        return self.make(name, lambda: "".join(secrets.choice(_ALPHABET) for dummy in range(length)))

    def salt(self, name: str) -> bytes:
        """The salt that always goes with this name.

        It follows from a random key of the store, not from the password: that would let who holds a
        verifier try passwords without paying for the iterations.
        """
        key = bytes.fromhex(self.make(_SALT_KEY, lambda: secrets.token_hex(32)))
        return hmac.digest(key, name.encode(), "sha256")[:_SALT_BYTES]

    def verifier(self, name: str, given: str = "") -> str:
        """What the server stores for the password ``given``, or for the one in the store.

        The same every time. A password that is a verifier already is left as it is.
        """
        if _VERIFIER.fullmatch(given):
            return given
        return scram_verifier(given or self.password(name), self.salt(name))

    def _make_directories(self, path: str) -> None:
        if os.path.isdir(path):
            return
        parent = os.path.dirname(path)
        # What lies above the store is not ours to protect.
        if path == self.root:
            os.makedirs(parent, exist_ok=True)
        else:
            self._make_directories(parent)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
            if path == self.root:
                # A store beside an inventory must not be committed by accident.
                with open(os.path.join(path, ".gitignore"), "w", encoding="utf-8") as handle:
                    handle.write("*\n")
        fsync_directory(parent)


def scram_verifier(password: str, salt: bytes, iterations: int = _ITERATIONS) -> str:
    """A password as ``pg_authid.rolpassword`` holds it (source: RFC 5802 and 7677; src/common/scram-common.c)."""
    salted = hashlib.pbkdf2_hmac("sha256", _prepared(password), salt, iterations)
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    parts = [base64.b64encode(part).decode() for part in (salt, stored_key, server_key)]
    return f"SCRAM-SHA-256${iterations}:{parts[0]}${parts[1]}:{parts[2]}"


def _prepared(password: str) -> bytes:
    """SASLprep (RFC 4013) as the server and libpq do it: a password that it does not allow is used as it is."""
    if password.isascii():
        return password.encode()
    kept = (" " if stringprep.in_table_c12(letter) else letter for letter in password)
    mapped = "".join(letter for letter in kept if not stringprep.in_table_b1(letter))
    prepared = unicodedata.normalize("NFKC", mapped)
    return (prepared if prepared and _allowed(prepared) else password).encode()


_FORBIDDEN = (
    stringprep.in_table_a1,
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def _allowed(text: str) -> bool:
    if any(forbidden(letter) for letter in text for forbidden in _FORBIDDEN):
        return False
    if any(stringprep.in_table_d1(letter) for letter in text):
        ends = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
        return ends and not any(stringprep.in_table_d2(letter) for letter in text)
    return True
