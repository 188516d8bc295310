"""The header fields in which a handler hands the envelope on to whoever sees only the message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ehlo.trace import without_control

if TYPE_CHECKING:
    from ehlo.session import Envelope, Session


def envelope_fields(session: Session, envelope: Envelope, *, separator: str = ", ") -> dict[str, str]:
    """Make the bodies of X-Peer, X-MailFrom and X-RcptTo.

    They are for the one who runs the server: X-RcptTo names every recipient, those of Bcc too.
    """
    return {
        "X-Peer": without_control(str(session.peer)),
        "X-MailFrom": without_control(envelope.mail_from or ""),
        "X-RcptTo": separator.join(map(without_control, envelope.rcpt_tos)),
    }
