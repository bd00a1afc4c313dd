# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A mail server that takes everything and delivers nothing: what it was given is there to be read (RFC 5321)."""

from __future__ import annotations

import email
import email.policy
import socketserver
import threading
from email.message import EmailMessage


class MailCatcher:
    """``mails`` in the order in which they came."""

    def __init__(self, address: str, port: int) -> None:
        self.mails: list[EmailMessage] = []
        catcher = self

        class Conversation(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self._say("220 catcher")
                while line := self.rfile.readline():
                    verb = line.split(b":")[0].strip().upper()[:4]
                    if verb == b"DATA":
                        self._say("354 go on")
                        catcher.take(self._body())
                        self._say("250 taken")
                    elif verb == b"QUIT":
                        self._say("221 bye")
                        return
                    else:
                        self._say("250 yes")

            def _body(self) -> bytes:
                lines = []
                while (line := self.rfile.readline()) not in (b".\r\n", b""):
                    lines.append(line[1:] if line.startswith(b"..") else line)
                return b"".join(lines)

            def _say(self, text: str) -> None:
                self.wfile.write(text.encode() + b"\r\n")

        socketserver.ThreadingTCPServer.allow_reuse_address = True
        self._server = socketserver.ThreadingTCPServer((address, port), Conversation)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def take(self, raw: bytes) -> None:
        """A mail has come."""
        message = email.message_from_bytes(raw, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        self.mails.append(message)

    def to(self, address: str) -> list[EmailMessage]:
        """Those for somebody."""
        return [mail for mail in self.mails if address in str(mail["To"])]

    def close(self) -> None:
        """No more mail."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
