"""The LMTP server (RFC 2033): LHLO for EHLO, and one reply for each recipient after the end of data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ehlo.errors import HandlerError
from ehlo.smtp import SMTP, syntax

if TYPE_CHECKING:
    from ehlo.protocol.replies import EncodedReply
    from ehlo.session import Envelope


class LMTP(SMTP):
    """One LMTP session.

    ``handle_DATA`` may return one status for all recipients, or a list with one for each RCPT that was accepted, in
    their order: that of ``envelope.rcpt_tos``, unless a hook changed it.  None in it means the default.  LHLO calls
    ``handle_EHLO``.
    """

    protocol_name: ClassVar[str] = "LMTP"
    greeting_keyword: ClassVar[str] = "LMTP"

    @syntax("LHLO hostname")
    async def smtp_LHLO(self, arg: str | None) -> None:
        """RFC 2033 §4.1."""
        await self.smtp_EHLO(arg)

    def _encode_outcome(self, envelope: Envelope, outcome: Any) -> list[EncodedReply]:
        """RFC 2033 §4.2: as many replies as there were accepted recipients, in the order of RCPT."""
        if self._chunk is not None and not self._chunk.is_last:
            return super()._encode_outcome(envelope, outcome)  # a chunk that failed; no end of data
        count = self._accepted_recipients  # a hook may have changed the list
        outcomes = outcome if isinstance(outcome, list) else [outcome] * count
        if len(outcomes) != count:
            raise HandlerError(f"handle_DATA returned {len(outcomes)} statuses for {count} recipients")
        return [super(LMTP, self)._encode_outcome(envelope, each)[0] for each in outcomes]
