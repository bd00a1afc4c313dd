# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Messages by mail: SMTP with TLS that is checked, and a login where one is asked for."""

from __future__ import annotations

import smtplib
import socket
import ssl
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from ..core.errors import Failed
from .notify_file import Channel
from .notify_text import Message

_REMEDY = "Correct the channel, then see it work: dbkeeper notify --test."


def mail(message: Message, channel: Channel, *, identity: str, at: datetime) -> EmailMessage:
    """The mail itself. Its id is that of the event, so that a server that got it twice shows it once."""
    made = EmailMessage(policy=SMTP)
    made["Subject"] = " ".join(message.subject.split())
    made["From"] = Address("dbkeeper", addr_spec=channel.sender)
    made["To"] = ", ".join(channel.to)
    made["Date"] = format_datetime(at)
    made["Message-ID"] = f"<{identity}.{channel.name}@dbkeeper.{_domain(channel.sender)}>"
    made["Auto-Submitted"] = "auto-generated"
    made["X-Dbkeeper-Event"] = str(message.data["event"])
    made["Content-Language"] = message.language
    made.set_content(message.text, charset="utf-8")
    return made


def send_mail(
    message: Message,
    channel: Channel,
    *,
    identity: str,
    at: datetime,
    context: ssl.SSLContext,
    timeout: float,
) -> None:
    """Deliver it to the server. Raises :class:`Failed`: ``notify-mail-failed``."""
    try:
        _send(mail(message, channel, identity=identity, at=at), channel, context, timeout)
    except smtplib.SMTPNotSupportedError as error:
        raise _failed(
            channel, f"the server has no {'STARTTLS' if 'STARTTLS' in str(error) else 'login'}"
        ) from error
    except smtplib.SMTPAuthenticationError as error:
        raise _failed(channel, f"it refused the login ({error.smtp_code})") from None
    except smtplib.SMTPRecipientsRefused as error:
        said = {address: f"{code} {_text(text)}" for address, (code, text) in error.recipients.items()}
        raise _failed(channel, f"it refused every recipient: {said}") from error
    except smtplib.SMTPResponseException as error:
        raise _failed(channel, f"it said {error.smtp_code} {_text(error.smtp_error)}") from error
    except (smtplib.SMTPException, OSError) as error:
        raise _failed(channel, f"{type(error).__name__}: {error}") from error


def _send(made: EmailMessage, channel: Channel, context: ssl.SSLContext, timeout: float) -> None:
    # Asking the resolver for our own full name can take minutes where there is none.
    here = socket.gethostname()
    client: smtplib.SMTP
    if channel.tls == "tls":
        client = smtplib.SMTP_SSL(
            channel.host, channel.port, local_hostname=here, timeout=timeout, context=context
        )
    else:
        client = smtplib.SMTP(channel.host, channel.port, local_hostname=here, timeout=timeout)
    with client:
        if channel.tls == "starttls":
            client.starttls(context=context)
        if channel.user is not None and channel.password is not None:
            client.login(channel.user, channel.password)
        refused = client.send_message(made, channel.sender, list(channel.to))
    if refused:
        # The others have it; sending again would tell them twice.
        said = ", ".join(f"{address}: {code} {_text(text)}" for address, (code, text) in refused.items())
        raise PartlyRefused(said)


class PartlyRefused(Exception):
    """Delivered, but not to everybody."""


def _text(said: bytes | str) -> str:
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)


def _domain(address: str) -> str:
    return address.rpartition("@")[2]


def _failed(channel: Channel, happened: str) -> Failed:
    return Failed(
        "notify-mail-failed",
        attempted=f"send mail by {channel.host}:{channel.port}",
        happened=channel.hide(happened),
        remedy=_REMEDY,
    )
