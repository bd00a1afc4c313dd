# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Messages to Slack, Teams and anything else that takes JSON by HTTPS. An address with its token is a secret.

Formats: Slack, "Sending messages using incoming webhooks" and "Block Kit"; Teams, "Workflows" webhooks with an Adaptive
Card in ``attachments``; a generic one gets our own JSON, with an HMAC of the body where there is a key.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ..core.errors import Failed
from .notify_file import Channel
from .notify_text import Message

#: Slack takes 3000 characters in a section and 150 in a header; Teams 28 kB in all.
_SECTION, _HEADER = 2900, 150
_ANSWER_BYTES = 4096
_COLOURS = {True: "#2eb886", False: "#d00000"}


class _Stay(urllib.request.HTTPRedirectHandler):
    """A message is not carried to wherever an answer points: it would arrive as a GET without its body."""

    def redirect_request(self, *_arguments: Any, **_names: Any) -> None:
        return None


def payload(message: Message, channel: Channel) -> dict[str, Any]:
    """The JSON for a channel's type."""
    if channel.type == "slack":
        return _slack(message)
    if channel.type == "teams":
        return _teams(message)
    return dict(message.data)


def post(
    message: Message,
    channel: Channel,
    *,
    identity: str,
    context: ssl.SSLContext,
    proxy: str | None,
    timeout: float,
) -> None:
    """Deliver it. Raises :class:`Failed` ``notify-webhook-failed``, whose text has no address in it."""
    body = json.dumps({**payload(message, channel), **_named(channel, identity)}, ensure_ascii=False).encode()
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": "dbkeeper",
        **channel.headers,
    }
    if channel.hmac_key is not None:
        headers[channel.hmac_header] = signature(channel.hmac_key, body)
    request = urllib.request.Request(channel.url, data=body, headers=headers, method="POST")
    proxies = {"http": proxy, "https": proxy} if proxy else {}
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler(proxies), urllib.request.HTTPSHandler(context=context), _Stay()
    )
    try:
        with opener.open(request, timeout=timeout) as answer:
            said = answer.read(_ANSWER_BYTES).decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        with error:
            told = error.read(_ANSWER_BYTES).decode("utf-8", "replace")
        wait = error.headers.get("Retry-After", "")
        raise _failed(channel, f"it answered {error.code} {told[:300]}", wait) from None
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise _failed(channel, f"{type(error).__name__}: {reason}") from None
    if channel.type == "teams" and "failed" in said.lower():
        # An old connector answers 200 with the error in words.
        raise _failed(channel, f"it answered 200 and said {said[:300]}")


def signature(key: str, body: bytes) -> str:
    """``sha256=`` and the HMAC of the body in hex: whoever has the key knows that the message is ours and whole."""
    return "sha256=" + hmac.new(key.encode(), body, hashlib.sha256).hexdigest()


def _named(channel: Channel, identity: str) -> Mapping[str, Any]:
    # Who gets one twice can tell by this.
    return {"id": identity} if channel.type == "webhook" else {}


def _slack(message: Message) -> dict[str, Any]:
    text = _escaped("\n".join(message.lines))
    return {
        "text": _escaped(message.subject),
        "attachments": [
            {
                "color": _COLOURS[message.good],
                "fallback": _escaped(message.subject),
                "blocks": [
                    {
                        "type": "header",
                        "text": {"type": "plain_text", "text": message.subject[:_HEADER], "emoji": False},
                    },
                    {"type": "section", "text": {"type": "mrkdwn", "text": _cut(text)}},
                ],
            }
        ],
    }


def _escaped(text: str) -> str:
    """Slack's three control characters."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str) -> str:
    if len(text) <= _SECTION:
        return text
    # Not in the middle of an escape.
    return (
        text[: _SECTION - 1].rsplit("&", 1)[0] + "…"
        if "&" in text[_SECTION - 8 : _SECTION]
        else text[:_SECTION] + "…"
    )


def _teams(message: Message) -> dict[str, Any]:
    style = {"color": "Good" if message.good else "Attention"}
    blocks = [
        {
            "type": "TextBlock",
            "text": message.subject,
            "weight": "Bolder",
            "size": "Medium",
            "wrap": True,
            **style,
        },
        *(
            {"type": "TextBlock", "text": line, "wrap": True, "spacing": "None" if line else "Medium"}
            for line in message.lines[1:]
            if line
        ),
    ]
    return {
        "type": "message",
        "attachments": [
            {
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": None,
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": "1.4",
                    "msteams": {"width": "Full"},
                    "body": blocks,
                },
            }
        ],
    }


def _failed(channel: Channel, happened: str, wait: str = "") -> Failed:
    return Failed(
        "notify-webhook-failed",
        attempted=f"tell {channel.name} at {urlsplit(channel.url).hostname}",
        happened=channel.hide(happened),
        remedy="Correct the channel, then see it work: dbkeeper notify --test.",
        details={"retry_after_seconds": int(wait) if wait.isdigit() else None},
    )
