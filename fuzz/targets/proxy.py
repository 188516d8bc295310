"""The header of the PROXY protocol, fed as the gate feeds it: never an octet more than is missing.

A seed is a line whose first octet is a cut, and then octets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ehlo.protocol.proxy import V1_LINE_LIMIT, V2_LENGTH_LIMIT, ProxyHeaderReader
from ehlo.protocol.proxy_tlv import ProxyError
from fuzz.checks import require, require_harmless
from fuzz.choices import cut, take_line

if TYPE_CHECKING:
    from ehlo.protocol.proxy import ProxyHeader

# The first 16 octets of v2 are not counted in its limit.
_MOST = max(V1_LINE_LIMIT, 16 + V2_LENGTH_LIMIT)


def fuzz_proxy(data: bytes) -> None:
    """The same header, or a refusal at all, whatever the cut; and what is behind the header stays there."""
    choices, octets = take_line(data)
    how = choices.octet()
    outcomes = [_read(octets, each) for each in (0, 1, how)]
    require(outcomes[0] == outcomes[1] == outcomes[2], f"it depends on the cut: {outcomes}")
    header = outcomes[0]
    if header is None or isinstance(header, str):
        return
    require(octets.startswith(header.raw), "octets behind the header were taken")
    require(len(header.raw) <= _MOST, "the header is larger than it may be")
    for end in (header.source, header.destination):
        require(end is None or isinstance(end, str) or 0 <= end[1] <= 65535, "no port")
    details = header.details
    texts = [details.authority, details.netns]
    if details.ssl is not None:
        texts += [details.ssl.cn, details.ssl.version, details.ssl.cipher]
    for text in texts:
        require_harmless(text or "", "a text of a TLV")


def _read(octets: bytes, how: int) -> ProxyHeader | str | None:
    """A header, "refused", or None when it is not whole."""
    reader = ProxyHeaderReader()
    taken = 0
    for piece in cut(octets, how):
        left = piece
        while left:
            count = reader.missing
            require(count > 0, "nothing is missing and nothing was given")
            now, left = left[:count], left[count:]
            taken += len(now)
            try:
                header = reader.feed(now)
            except ProxyError:
                return "refused"
            require(taken <= _MOST, "more is read than a header may have")
            if header is not None:
                require(taken == len(header.raw), "the header is not what was read")
                return header
    return None
