r"""The ABNF of SMTP as regular expressions: addresses, HELO names, parameters, EHLO lines.

Knows which characters form a mailbox, a path or a parameter.  Does not know what they mean, how many octets
they may have (but for a label of a domain), or what a client is told when they do not match: that is
``address.py`` and ``parameters.py``.

The sources are RFC 5321 §4.1.2 and §4.1.3, the ``atext`` of RFC 5322 §3.2.3, and RFC 6531 §3.3, which adds
characters beyond ASCII to ``sub-domain``, ``atext``, ``qtextSMTP`` and ``esmtp-value``.  The rules are
quoted above the patterns; lower-case names are parts of patterns, capitals are compiled and for everybody.

Every pattern must take linear time on hostile input.  Three habits see to it: neighbouring parts never begin
with the same character, so there is one way only to match a text; a run of one character class that could be cut in
two is possessive (``++``); and nothing with a repetition inside is possessive or atomic, because Python
before 3.11.5 matches those wrongly (CPython issue 106052).
"""

from __future__ import annotations

import re

#   UTF8-non-ascii  = UTF8-2 / UTF8-3 / UTF8-4                        (RFC 6532 §3.1)
#
# Decoded text here, so code points.  Left out are the surrogates, which come from octets that are no UTF-8, and the
# C1 controls U+0080 to U+009F: the ABNF has them, but they are control characters like those that it forbids
# below U+0020, and some terminals and parsers obey them (U+0085 is a line end).
_utf8_non_ascii = r"\u00a0-\ud7ff\ue000-\U0010ffff"


def _in_ascii(pattern: str) -> str:
    """The same without the characters beyond ASCII."""
    return pattern.replace(_utf8_non_ascii, "")


# -- Domain ------------------------------------------------------------------------------------------------
#
#   Let-dig         = ALPHA / DIGIT
#   Ldh-str         = *( ALPHA / DIGIT / "-" ) Let-dig
#   sub-domain      = Let-dig [Ldh-str]
#   sub-domain      =/ U-label                                        (RFC 6531 §3.3)
#   Domain          = sub-domain *("." sub-domain)
#
# The underscore is no Let-dig.  Real host names have it nevertheless (Windows domains, names from a container
# orchestrator, DNS itself has no such rule), their users cannot change it, and Postfix takes it too.
#
# At most 63 octets to a label (RFC 1035 §2.3.4).  Of a U-label the A-label form counts, which has an octet or more
# for every character, so characters are counted: what passes may still be too long for DNS, what fails surely is.
# Whether a U-label is one by RFC 5892 is for the resolver to say, which alone knows its version of Unicode.
_let_dig = rf"A-Za-z0-9_{_utf8_non_ascii}"
_sub_domain = rf"[{_let_dig}][{_let_dig}\-]{{0,62}}+(?<!-)"
_domain = rf"{_sub_domain}(?:\.{_sub_domain})*"

DOMAIN: re.Pattern[str]


# -- Address literal ---------------------------------------------------------------------------------------
#
#   address-literal = "[" ( IPv4-address-literal / IPv6-address-literal / General-address-literal ) "]"
#   IPv4-address-literal = Snum 3("." Snum)
#   Snum            = 1*3DIGIT
#                     ; representing a decimal integer value in the range 0 through 255
#   IPv6-address-literal = "IPv6:" IPv6-addr
#   General-address-literal = Standardized-tag ":" 1*dcontent
#   Standardized-tag = Ldh-str
#   dcontent        = %d33-90 / %d94-126
#                     ; Printable US-ASCII excl. "[", "\", "]"
#
# IPv6-addr is only delimited here (group ``ipv6``): ``address.py`` asks ``ipaddress``.  Erratum 4315 (held for
# document update) corrects its ABNF, which allows "::" for no less than two groups of zeros and up to twelve others.
# "IPv6" is also a Ldh-str, so [IPv6:junk] would be a General-address-literal if the lookahead did not exclude it.
# An IPv6 address without its tag, as in [2001:db8::1], is one: its tag is "2001".
_snum = r"(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
_ipv4 = rf"{_snum}(?:\.{_snum}){{3}}"
_ipv6 = r"(?ai:IPv6:)(?P<ipv6>[0-9A-Fa-f:.]+)"
_general = r"(?!(?ai:IPv6:))[A-Za-z0-9\-]++(?<!-):[!-Z^-~]+"
_address_literal = rf"\[(?:{_ipv4}|{_ipv6}|{_general})\]"

ADDRESS_LITERAL: re.Pattern[str]


# -- Mailbox -----------------------------------------------------------------------------------------------
#
#   atext           = ALPHA / DIGIT / "!" / "#" / "$" / "%" / "&" / "'" / "*" / "+" / "-" / "/" /
#                     "=" / "?" / "^" / "_" / "`" / "{" / "|" / "}" / "~"                 (RFC 5322 §3.2.3)
#   atext           =/ UTF8-non-ascii                                 (RFC 6531 §3.3)
#   Atom            = 1*atext
#   Dot-string      = Atom *("." Atom)
#
# No comments and no white space around an atom: RFC 5321 has its own Atom, without the CFWS of RFC 5322.
_atext = rf"A-Za-z0-9!#$%&'*+\-/=?^_`{{|}}~{_utf8_non_ascii}"
_dot_string = rf"[{_atext}]++(?:\.[{_atext}]++)*"

#   Quoted-string   = DQUOTE *QcontentSMTP DQUOTE
#   QcontentSMTP    = qtextSMTP / quoted-pairSMTP
#   quoted-pairSMTP = %d92 %d32-126
#                     ; i.e., backslash followed by any ASCII graphic (including itself) or SPace
#   qtextSMTP       = %d32-33 / %d35-91 / %d93-126
#   qtextSMTP       =/ UTF8-non-ascii                                 (RFC 6531 §3.3)
#
# The empty string is within the rule.  (Erratum 3135 of RFC 5322 would forbid it in header fields.)  RFC 6531 leaves
# quoted-pairSMTP alone: no backslash before a character beyond ASCII.
_qtext = rf" !#-\[\]-~{_utf8_non_ascii}"
_quoted_string = rf'"(?:[{_qtext}]++|\\[ -~])*"'

#   Local-part      = Dot-string / Quoted-string
#   Mailbox         = Local-part "@" ( Domain / address-literal )
_mailbox = rf"(?P<local_part>{_dot_string}|{_quoted_string})@(?P<domain>{_domain}|{_address_literal})"

MAILBOX: re.Pattern[str]


# -- Paths: from "<" to ">" --------------------------------------------------------------------------------
#
#   Path            = "<" [ A-d-l ":" ] Mailbox ">"
#   A-d-l           = At-domain *( "," At-domain )
#                     ; Note that this form, the so-called "source route", MUST BE accepted,
#                     ; SHOULD NOT be generated, and SHOULD be ignored.
#   At-domain       = "@" Domain
_source_route = rf"@{_domain}(?:,@{_domain})*:"
_path = rf"<(?:{_source_route})?(?P<mailbox>{_mailbox})>"

#   Reverse-path    = Path / "<>"
REVERSE_PATH: re.Pattern[str]

#   rcpt            = "RCPT TO:" ( "<Postmaster@" Domain ">" / "<Postmaster>" / Forward-path )
#                     [SP Rcpt-parameters] CRLF                       (RFC 5321 §4.1.1.3)
#
# Literals of ABNF match in any case.  (?ai:...) rather than (?i:...), for which U+017F is an "s" as well.
FORWARD_PATH: re.Pattern[str]


# -- The arguments of MAIL and RCPT ------------------------------------------------------------------------
#
#   mail            = "MAIL FROM:" Reverse-path [SP Mail-parameters] CRLF
#
# A space after the colon is an error by RFC 5321 §3.3, and so common among senders that everybody accepts it.
_mail_opening = r"(?ai:FROM:) *"
_rcpt_opening = r"(?ai:TO:) *"

MAIL_OPENING = re.compile(_mail_opening + "(?=<)")
RCPT_OPENING = re.compile(_rcpt_opening + "(?=<)")

# What follows a path: nothing, or a space and parameters that parameters.py takes apart.  Refused already here:
# controls and octets that are no UTF-8.  The group is None when there are only spaces, and ends before trailing ones.
_vchar = rf"!-~{_utf8_non_ascii}"
_after_path = rf"(?: ++(?P<parameters>[{_vchar}](?:[ {_vchar}]*[{_vchar}])?))? *"

AFTER_PATH: re.Pattern[str]

# Nearly every argument that ever arrives: in ASCII, a Dot-string and a Domain, or "<>".  One match, two groups.
ORDINARY_MAIL = re.compile(_in_ascii(rf"{_mail_opening}<((?:{_dot_string}@{_domain})?)>{_after_path}"))
ORDINARY_RCPT = re.compile(_in_ascii(rf"{_rcpt_opening}<({_dot_string}@{_domain})>{_after_path}"))


# -- Parameters, keywords, HELO names ----------------------------------------------------------------------
#
#   esmtp-param     = esmtp-keyword ["=" esmtp-value]
#   esmtp-keyword   = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
#   esmtp-value     = 1*(%d33-60 / %d62-126)
#                     ; any CHAR excluding "=", SP, and control characters.
#   esmtp-value     =/ UTF8-non-ascii                                 (RFC 6531 §3.3)
#
# Read to the letter, the extension adds values of one character; 1*(... / UTF8-non-ascii) is meant.
ESMTP_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-]*")
ESMTP_VALUE: re.Pattern[str]
ESMTP_PARAM: re.Pattern[str]
ORDINARY_ESMTP_PARAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-]*(?:=[!-<>-~]+)?")

#   ehlo-line       = ehlo-keyword *( SP ehlo-param )                 (RFC 5321 §4.1.1.1)
#   ehlo-keyword    = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
EHLO_KEYWORD = ESMTP_KEYWORD

#   ehlo            = "EHLO" SP ( Domain / address-literal ) CRLF
#   helo            = "HELO" SP Domain CRLF
#
# Not enforced: printers, cameras and whole libraries say HELO with a bare name, an underscore, or an IP address
# without brackets, and a server must not refuse mail because the name is not the client's (RFC 5321 §4.1.4).  Postfix
# takes any word unless told otherwise.  What is refused could break a reply, a log line or a Received field.
HELO_NAME: re.Pattern[str]

ORDINARY_HELO_NAME = re.compile(r"[!-~]+")


# -- Compiled when first asked for -------------------------------------------------------------------------
#
# A class of characters that reaches beyond ASCII takes Python milliseconds to compile, and these patterns hold many:
# 160 ms for all, which is twice the time of importing asyncio.  Most servers never meet what only they match.
_LATER = {
    "DOMAIN": _domain,
    "ADDRESS_LITERAL": _address_literal,
    "MAILBOX": _mailbox,
    "REVERSE_PATH": rf"{_path}|<>",
    "FORWARD_PATH": rf"{_path}|<(?ai:Postmaster)>",
    "AFTER_PATH": _after_path,
    "ESMTP_VALUE": rf"[!-<>-~{_utf8_non_ascii}]+",
    "ESMTP_PARAM": rf"[A-Za-z0-9][A-Za-z0-9\-]*(?:=[!-<>-~{_utf8_non_ascii}]+)?",
    "HELO_NAME": rf"[{_vchar}]+",
}


def __getattr__(name: str) -> re.Pattern[str]:
    """Compile a pattern (PEP 562: called for a name that is not there yet)."""
    if name not in _LATER:
        raise AttributeError(name)
    pattern = globals()[name] = re.compile(_LATER[name])
    return pattern
