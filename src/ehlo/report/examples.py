"""Messages for the examples of the rules' tables. Knows how a right message looks."""

from __future__ import annotations

from ehlo.report.mail import Mail

HEAD = """\
From: Anna <anna@sender.example>
To: bob@receiver.example
Subject: Lunch
Date: Mon, 2 Nov 2026 12:00:00 +0100
Message-ID: <1@sender.example>
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
"""

BODY = "At one?\n"


def crlf(text: str) -> bytes:
    """Text as octets with CRLF line ends, in UTF-8."""
    return text.replace("\n", "\r\n").encode()


def mail(body: str = BODY, *options: str, mail_from: str | None = None, **fields: str | None) -> Mail:
    """The right message with another body, and fields replaced (None: left out); ``list_id`` is List-Id."""
    head = HEAD
    for name, value in fields.items():
        title = "-".join(word.upper() if word in {"id", "mime"} else word.capitalize() for word in name.split("_"))
        kept = [line for line in head.splitlines() if not line.lower().startswith(f"{title.lower()}:")]
        if value is not None:
            kept.append(f"{title}: {value}")
        head = "\n".join(kept) + "\n"
    return Mail(crlf(f"{head}\n{body}"), mail_from, options=options)


def added(*lines: str) -> Mail:
    """The right message with more lines in its header."""
    return Mail(crlf(HEAD + "".join(f"{line}\n" for line in lines) + "\n" + BODY))


def multipart(subtype: str, *parts: str, boundary: str = "=_1", end: str = "--=_1--\n") -> Mail:
    """A message of parts, each of them written with its header."""
    body = "".join(f"--{boundary}\n{part}" for part in parts) + end
    return mail(body, content_type=f'multipart/{subtype}; boundary="{boundary}"')


TEXT_PART = "Content-Type: text/plain; charset=utf-8\n\nAt one?\n"
HTML_PART = 'Content-Type: text/html; charset=utf-8\n\n<html lang="en"><p>At one?</p></html>\n'


def html(source: str) -> Mail:
    """A message with a text part and this HTML."""
    return multipart(
        "alternative",
        TEXT_PART,
        f"Content-Type: text/html; charset=utf-8\n\n{source}\n",
    )
