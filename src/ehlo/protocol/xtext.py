r"""The encodings of parameter values: xtext and unitext. Knows characters; does not know parameters or addresses.

Two encodings carry what an esmtp-value must not hold (SP, ``=``, controls):

    xtext     RFC 3461 §4    ``+2B``      ENVID=, ORCPT=rfc822;, AUTH=, and the values of XCLIENT and XFORWARD
    unitext   RFC 6533 §3    ``\x{2B}``   ORCPT=utf-8;

unitext comes in a form of ASCII alone (utf-8-addr-xtext) and one with UTF-8 (utf-8-addr-unitext).  The second is the
superset, so one function decodes both.

Decoded text may hold any control character: whoever writes it into a line or a header checks it first.
"""

from __future__ import annotations

import re

# RFC 3461 §4:
#   xtext   = *( xchar / hexchar )
#   xchar   = any ASCII CHAR between "!" (33) and "~" (126) inclusive, except for "+" and "="
#   hexchar = ASCII "+" immediately followed by two upper case hexadecimal digits
# Lower case is read too: Exim 4.96 writes it into AUTH= (user+tag@a.example becomes user+2btag@a.example).
_XTEXT = re.compile(r"(?: [!-*,-<>-~] | \+[0-9A-Fa-f]{2} )*", re.VERBOSE)
_HEXCHAR = re.compile(rb"\+(..)")
_NO_XCHAR = re.compile(rb"[^!-*,-<>-~]")

# RFC 6533 §3:
#   utf-8-addr-xtext    = 1*(QCHAR / EmbeddedUnicodeChar)
#   utf-8-addr-unitext  = 1*(QUCHAR / EmbeddedUnicodeChar)
#   QCHAR               = %x21-2a / %x2c-3c / %x3e-5b / %x5d-7e      ; not SP, "\", "+", "="
#   QUCHAR              = QCHAR / UTF8-2 / UTF8-3 / UTF8-4
#   EmbeddedUnicodeChar = %x5C.78 "{" HEXPOINT "}"                   ; starts with "\x"
#   HEXPOINT            = ( ( "0"/"1" ) %x31-39 ) / "10" / "20" / "2B" / "3D" / "7F" / "5C"
#                       / (HEXDIG8 HEXDIG)                           ; 80 to FF
#                       / ( NZHEXDIG 2(HEXDIG) )                     ; 100 to FFF
#                       / ( NZDHEXDIG 3(HEXDIG) )                    ; 1000 to FFFF ...
#                       / ( "D" %x30-37 2(HEXDIG) )                  ; ... without surrogates
#                       / ( NZHEXDIG 4(HEXDIG) )
#                       / ( "10" 4*HEXDIG )
# The last line means 4HEXDIG: "HEXPOINT is 2 to 6 hexadecimal digits".  Strings of ABNF match in either case
# (RFC 5234 §2.3), so the digits do.  NUL, LF, CR and the other control characters with a letter in their number
# cannot be written.
_HEXPOINT = r"""(?:
    0[1-9] | 1[0-9] | 20 | 2[Bb] | 3[Dd] | 7[Ff] | 5[Cc]
  | [89A-Fa-f][0-9A-Fa-f]
  | [1-9A-Fa-f][0-9A-Fa-f]{2}
  | [1-9A-CEFa-cef][0-9A-Fa-f]{3}
  | [Dd][0-7][0-9A-Fa-f]{2}
  | [1-9A-Fa-f][0-9A-Fa-f]{4}
  | 10[0-9A-Fa-f]{4}
)"""
# Said by what is excluded: a class of characters beyond ASCII takes milliseconds to compile.
_UNITEXT = re.compile(rf"(?: [^\x00-\x20+=\\\x7f] | \\x\{{ {_HEXPOINT} \}} )+", re.VERBOSE)
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_EMBEDDED = re.compile(r"\\x\{([0-9A-Fa-f]+)\}")
_NO_QCHAR = re.compile(r"[^!-*,-<>-\[\]-~]")
_NO_QUCHAR = re.compile(r"[\x00-\x20+=\\\x7f]")
# What HEXPOINT leaves out, and the surrogates, which are no characters.
_UNWRITABLE = re.compile(r"[\x00\x0a-\x0f\x1a-\x1f\ud800-\udfff]")


def encode_xtext(text: str) -> str:
    """The octets of ``text`` in UTF-8 as xtext.  ValueError if it holds a surrogate."""
    data = text.encode()
    return _NO_XCHAR.sub(lambda match: b"+%02X" % ord(match[0]), data).decode("ascii")


def decode_xtext(text: str) -> str:
    """The text that an xtext means.  ValueError if it is no xtext, or its octets are not UTF-8."""
    if not _XTEXT.fullmatch(text):
        raise ValueError("no xtext")
    if "+" not in text:
        return text
    data = text.encode("ascii")
    return _HEXCHAR.sub(lambda match: bytes((int(match[1], 16),)), data).decode()


def encode_utf8_addr_xtext(text: str) -> str:
    """The 7-bit form of RFC 6533 §3, for a server that does not offer SMTPUTF8.

    ValueError if ``text`` is empty or holds what has no HEXPOINT (NUL, CR, LF and ten other control characters).
    """
    return _encode_unitext(text, _NO_QCHAR)


def encode_utf8_addr_unitext(text: str) -> str:
    """The form of RFC 6533 §3 with UTF-8, for a server that offers SMTPUTF8.  ValueError as in the 7-bit form."""
    return _encode_unitext(text, _NO_QUCHAR)


def decode_utf8_addr(text: str) -> str:
    """The address that either form of RFC 6533 §3 means.  ValueError if it is neither."""
    if not _UNITEXT.fullmatch(text) or _SURROGATE.search(text):
        raise ValueError("no unitext")
    return _EMBEDDED.sub(lambda match: chr(int(match[1], 16)), text)


def _encode_unitext(text: str, embedded: re.Pattern[str]) -> str:
    if not text or _UNWRITABLE.search(text):
        raise ValueError("cannot be written in unitext")
    return embedded.sub(lambda match: f"\\x{{{ord(match[0]):02X}}}", text)
