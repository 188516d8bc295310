"""What a server says to our client: replies, and the list of extensions in one of them.

A seed is a line whose octets choose limits and a cut, and then what the server says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ehlo.protocol.client import BadReply, ReplyParser, parse_extensions
from fuzz.checks import require, require_harmless
from fuzz.choices import cut, take_line

if TYPE_CHECKING:
    from ehlo.protocol.replies import Reply


def fuzz_client(data: bytes) -> None:
    """The same replies whatever the cut; each can be passed on as it is."""
    choices, octets = take_line(data)
    line_limit, lines_limit = choices.pick((12_288, 40)), choices.pick((256, 3))
    how = choices.octet()
    outcomes: list[tuple[list[Reply], int | None]] = []
    for each in (0, 1, how):
        parser = ReplyParser(line_limit=line_limit, lines_limit=lines_limit)
        replies = []
        try:
            for piece in cut(octets, each):
                parser.receive(piece)
                while (reply := parser.next_reply()) is not None:
                    replies.append(reply)
                require(parser.buffered <= line_limit, f"{parser.buffered} octets wait for the end of a line")
        except BadReply:
            outcomes.append((replies, None))
        else:
            outcomes.append((replies, parser.buffered))
    require(outcomes[0] == outcomes[1] == outcomes[2], f"it depends on the cut: {outcomes}")
    for reply in outcomes[0][0]:
        require(len(reply.lines) <= lines_limit, "a reply of too many lines")
        require(str(reply.code)[0].encode() in octets, "a code from nowhere")
        require_harmless("".join(reply.lines), "a reply")
        reply.encode(utf8=True)
        for keyword, parameters in parse_extensions(reply).items():
            require(keyword and keyword == keyword.upper() and " " not in keyword, f"no keyword: {keyword!r}")
            require(all(parameters), "an empty parameter")
