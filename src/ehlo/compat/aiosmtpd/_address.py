"""Paths as aiosmtpd takes them: by the grammar of message headers, which allows more than SMTP's."""

from __future__ import annotations

import re
from email.errors import HeaderParseError

# The paths that nearly all are: <dot-atom@dot-atom>, and parameters behind one space.  The header parser gives them
# back as they are, in 100 us.  "?" is left to it, which looks for encoded words; so are comments.
_ATOM = r"[A-Za-z0-9!#$%&'*+/=^_`{|}~-]+"
_PLAIN = re.compile(rf"<({_ATOM}(?:\.{_ATOM})*@{_ATOM}(?:\.{_ATOM})*)>(?: ([!-'*-~][ -~]*))?")


def split_path(arg: str) -> tuple[str | None, str | None]:
    """The address, without its brackets, and what follows it; two None when there is none."""
    plain = _PLAIN.fullmatch(arg)
    if plain is not None:
        return plain[1], plain[2] or ""
    # The parser that aiosmtpd uses, for what it does with source routes, comments, quotes and missing brackets.
    from email._header_value_parser import get_addr_spec, get_angle_addr  # noqa: PLC0415 - 20 ms that few need

    parse = get_angle_addr if arg.lstrip().startswith("<") else get_addr_spec
    try:
        address, rest = parse(arg)
    except HeaderParseError:
        return None, None
    return str(address.addr_spec), str(rest)
