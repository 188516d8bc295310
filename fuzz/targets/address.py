"""The arguments of MAIL and RCPT up to their parameters."""

from __future__ import annotations

from typing import Final

from ehlo.errors import ProtocolError
from ehlo.protocol.address import (
    Path,
    is_address_literal,
    is_domain,
    is_helo_name,
    is_mailbox,
    parse_forward_path,
    parse_reverse_path,
    split_mailbox,
)
from ehlo.protocol.client import mail_command, rcpt_command
from fuzz.checks import as_text, require, require_harmless

# None of them quotes the client.
_REFUSALS: Final = {
    "501 5.5.4 Syntax: MAIL FROM:<address>",
    "501 5.5.4 Syntax: RCPT TO:<address>",
    "553 5.1.3 Malformed address",
    "553 5.1.7 Malformed address",
}


def fuzz_address(data: bytes) -> None:
    """Parse the same text as every kind of thing that a name or a path may be."""
    text = as_text(data)
    if text is None:
        return
    for parse, word, command in (
        (parse_reverse_path, "FROM", mail_command),
        (parse_forward_path, "TO", rcpt_command),
    ):
        # Bare texts too, so that what is between the brackets is easy to reach.
        for arg in (text, f"{word}:<{text}>", f"{word}:{text}"):
            try:
                path = parse(arg)
            except ProtocolError as error:
                require(error.status in _REFUSALS, f"not a refusal for a path: {error.status}")
                continue
            _look_at(path, arg)
            again = command(path.mailbox).decode().removesuffix("\r\n").partition(" ")[2]
            require(parse(again) == Path(path.mailbox, None), f"{path.mailbox!r} cannot be passed on")
    if is_domain(text) or is_address_literal(text) or is_helo_name(text):
        require_harmless(text, "a name")
        require(" " not in text, "a name of two words")


def _look_at(path: Path, arg: str) -> None:
    mailbox = path.mailbox
    require_harmless(mailbox, "a mailbox")
    require(mailbox in arg, "a mailbox that is not in the argument")
    require(path.parameters is None or arg.rstrip(" ").endswith(path.parameters), "parameters from nowhere")
    if mailbox in {"", *(mailbox for _ in [0] if mailbox.lower() == "postmaster")}:
        return
    require(is_mailbox(mailbox), f"parsed, and no mailbox: {mailbox!r}")
    local_part, domain = split_mailbox(mailbox)
    require(f"{local_part}@{domain}" == mailbox, "split and not the same together")
    require(is_domain(domain) or is_address_literal(domain), f"no domain: {domain!r}")
    is_quoted = local_part.startswith('"')
    require(is_quoted or not set(local_part) & set(' <>"\\,:;()[]'), f"specials outside of quotes: {local_part!r}")
