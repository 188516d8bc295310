"""The known differences between ehlo, aiosmtpd and Postfix, as a table; docs/differences.md is made of it.

    python -m tests.differential.differences        writes the tables of the page anew

A difference that is in no row fails the comparison, and so does a row that nobody finds any more.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.differential.compare import Comparison

PAGE: Final = Path(__file__).parents[2] / "docs" / "differences.md"
BEGIN: Final = "<!-- made by tests/differential/differences.py from here -->\n"
END: Final = "<!-- to here -->\n"

AIOSMTPD, POSTFIX = "aiosmtpd", "Postfix"
OTHERS: Final = (AIOSMTPD, POSTFIX)


class Right(StrEnum):
    """Who does what the RFCs say."""

    EHLO = "ehlo"
    BOTH = "both"
    """The RFCs leave it open, or speak of another case."""
    AIOSMTPD = "aiosmtpd"


@dataclass(frozen=True)
class Difference:
    """One row.

    ``title`` says what the client does.  ``what`` matches a step of a dialogue, ``stage`` the stage (see
    ``compare.Stage``), ``ours`` and each of ``theirs`` the codes; all are regular expressions for the whole text, and
    those of codes are simple alternatives, since they are shown.
    """

    title: str
    what: str
    ours: str
    theirs: Mapping[str, str]
    right: Right
    source: str
    why: str
    stage: str = ".*"

    def covers(self, other: str, comparison: Comparison) -> bool:
        """Whether this is what was found."""
        return other in self.theirs and all(
            re.fullmatch(pattern, text)
            for pattern, text in (
                (self.what, comparison.what),
                (self.stage, str(comparison.stage)),
                (self.ours, comparison.ours),
                (self.theirs[other], comparison.theirs),
            )
        )


def _both(codes: str) -> Mapping[str, str]:
    return {AIOSMTPD: codes, POSTFIX: codes}


SEQUENCE: Final = (
    Difference(
        "MAIL before EHLO or HELO",
        r"MAIL.*|together: .*MAIL.*",
        "503|503 503|503 503 503|250 503 503 503",
        {POSTFIX: "250|501|552|555|250 250|250 501 250|503 250|250 250 250 250"},
        Right.EHLO,
        "RFC 5321 §4.1.4",
        'A session with mail transactions "MUST first be initialized by the use of the EHLO command". Postfix insists '
        "with `smtpd_helo_required` only.",
        stage="CONNECT",
    ),
    Difference(
        "A bad or unknown argument, where the command is out of place as well",
        r"MAIL with (?:TO|a space before the colon)|MAIL without.*|STARTTLS with an argument",
        "503",
        _both("501"),
        Right.BOTH,
        "RFC 5321 §4.1.4, §4.2.2",
        "Which of two faults is told is left open. ehlo looks at the stage first: nothing is parsed in vain.",
    ),
    Difference(
        "Octets that are no UTF-8, where the command is out of place as well",
        r"RCPT with octets that are no UTF-8",
        "500",
        {AIOSMTPD: "503"},
        Right.BOTH,
        "RFC 5321 §4.2.2",
        "As before: the line as such is judged first.",
    ),
    Difference(
        "DATA or BDAT without a recipient that was accepted",
        r"DATA.*|mail data.*|BDAT.*",
        "503|503 503|503 250 250|503 503 250",
        {POSTFIX: "554|554 551|554 250 250|554 503 250"},
        Right.BOTH,
        "RFC 5321 §3.3",
        "\"The server MAY return a 'command out of sequence' (503) or 'no valid recipients' (554) reply\".",
        stage=".* MAIL",
    ),
    Difference(
        "A second BDAT after one out of place",
        r"BDAT (?:twice|and an empty last chunk)",
        "503 503",
        {POSTFIX: "503 551"},
        Right.BOTH,
        "RFC 3030 §2",
        "Both discard its chunk and refuse it, as they must.",
        stage="EHLO|HELO|CONNECT",
    ),
    Difference(
        "MAIL or RCPT after a BDAT out of place",
        r"BDAT, then (?:MAIL|RCPT)",
        "503 250 250",
        {POSTFIX: "503 503 250|554 503 250"},
        Right.BOTH,
        "RFC 3030 §2",
        "After a BDAT that failed, Postfix wants RSET. To ehlo nothing has begun, so MAIL begins a transaction.",
    ),
    Difference(
        "DATA after BDAT, with something behind it in the same group",
        r"BDAT, then DATA",
        "250 503 421 closed|503 503 421 closed",
        {POSTFIX: "250 503 250|503 503 250|554 503 250"},
        Right.EHLO,
        "RFC 2920 §3.1, RFC 3030 §2",
        "Both refuse DATA. What is behind it may be mail data that the client sent without waiting for 354, and must "
        "not be run as commands: ehlo closes. DATA can only be the last command in a group.",
    ),
    Difference(
        "MAIL or RCPT parameters, BDAT, after HELO",
        r"MAIL with .*|RCPT with .*|BDAT .*",
        "555|502",
        {AIOSMTPD: "501", POSTFIX: "250|501|552"},
        Right.EHLO,
        "RFC 5321 §4.1.1.11, §2.2.1",
        'After HELO nothing was offered, and "if the server SMTP does not recognize or cannot implement one or more of '
        'the parameters" it answers 555.',
        stage="HELO.*",
    ),
)

PATHS: Final = (
    Difference(
        "A path without its brackets, or without the closing one",
        r"(?:MAIL|RCPT) without (?:brackets|the closing bracket)",
        "501",
        {AIOSMTPD: "250", POSTFIX: "250"},
        Right.EHLO,
        "RFC 5321 §4.1.2",
        "A path has brackets. Where it ends is a guess otherwise, and two servers may guess differently. Postfix "
        "accepts it without both, unless `strict_rfc821_envelopes` is set.",
    ),
    Difference(
        "Something else beside the path",
        r"(?:MAIL|RCPT) with (?:a display name|two paths|text behind the brackets)",
        "501",
        _both("555"),
        Right.BOTH,
        "RFC 5321 §4.1.2",
        "All refuse it; 555 takes it for parameters.",
    ),
    Difference(
        "Spaces inside the brackets",
        r"(?:MAIL|RCPT) with spaces inside the brackets",
        "553",
        _both("250"),
        Right.EHLO,
        "RFC 5321 §4.1.2",
        "None are in the grammar of a path.",
    ),
    Difference(
        "A comment in the path",
        r"(?:MAIL|RCPT) with a comment",
        "553",
        _both("250"),
        Right.EHLO,
        "RFC 5321 §4.1.2",
        "Comments are for header fields (RFC 5322); a path has none.",
    ),
    Difference(
        "A control character in the path",
        r"(?:MAIL|RCPT) with a (?:control character|tabulator)",
        "553",
        _both("250"),
        Right.EHLO,
        "RFC 5321 §4.1.2",
        "Neither in an atom nor in a quoted string; and it may be one that a log or a terminal obeys.",
    ),
    Difference(
        "A space in the local part",
        r"(?:MAIL|RCPT) with a space in the local part",
        "553",
        {AIOSMTPD: "250", POSTFIX: "501"},
        Right.EHLO,
        "RFC 5321 §4.1.2",
        "aiosmtpd makes it a quoted string: another address than the client's.",
    ),
    Difference(
        "A local part with a dot in front, or two together",
        r"(?:MAIL|RCPT) with (?:a dot in front of|two dots in) the local part",
        "553",
        _both("250"),
        Right.EHLO,
        "RFC 5321 §4.1.2",
        "An atom of a Dot-string is never empty. Such a mailbox can be written in quotes.",
    ),
    Difference(
        "No domain",
        r"(?:MAIL|RCPT) without a domain|MAIL with Postmaster",
        "553",
        _both("250"),
        Right.EHLO,
        "RFC 5321 §4.1.2, §4.1.1.3",
        "Only `RCPT TO:<Postmaster>` may do without.",
    ),
    Difference(
        "An empty local part",
        r"(?:MAIL|RCPT) with an empty local part",
        "553",
        {POSTFIX: "250"},
        Right.EHLO,
        "RFC 5321 §4.1.2",
        "`@example.com` is the beginning of a source route.",
    ),
    Difference(
        "Two @ in the path",
        r"(?:MAIL|RCPT) with two @",
        "553",
        {POSTFIX: "250"},
        Right.EHLO,
        "RFC 5321 §4.1.2",
        "One must be in quotes. Whose mailbox this is depends on the reader.",
    ),
    Difference(
        "A domain that ends with a dot",
        r"(?:MAIL|RCPT) with a domain that ends with a dot",
        "553",
        {POSTFIX: "250"},
        Right.EHLO,
        "RFC 5321 §4.1.2, §2.3.5",
        "In the DNS it is right; the grammar of SMTP has none.",
    ),
    Difference(
        "A domain that no DNS can hold: too long, or a hyphen in front",
        r"(?:MAIL|RCPT) with a (?:domain of 260 octets|label of 64 octets|hyphen in front of the domain)",
        "553",
        {AIOSMTPD: "250", POSTFIX: "501"},
        Right.EHLO,
        "RFC 5321 §4.1.2, §4.5.3.1.2, RFC 1035 §2.3.4",
        "255 octets for a domain, 63 for a label, and Let-dig in front.",
    ),
    Difference(
        "An IPv4 address that is none",
        r"(?:MAIL|RCPT) with a bad address literal",
        "553",
        {AIOSMTPD: "250", POSTFIX: "501"},
        Right.EHLO,
        "RFC 5321 §4.1.3",
        'Snum is "in the range 0 through 255".',
    ),
    Difference(
        "An empty domain, two dots in one",
        r"(?:MAIL|RCPT) with (?:an empty domain|two dots in the domain)"
        r"|together: MAIL, RCPT without a domain name, RCPT",
        "553|250 553 250|503 553 250",
        {POSTFIX: "501|250 501 250|503 501 250"},
        Right.BOTH,
        "RFC 5321 §4.2.3, §4.3.2",
        'All refuse it: 553 is "mailbox syntax incorrect", 501 a syntax error in any argument.',
    ),
    Difference(
        "The null path as a recipient",
        r"RCPT with the null path",
        "553",
        {AIOSMTPD: "250", POSTFIX: "501"},
        Right.EHLO,
        "RFC 5321 §4.1.1.3",
        "A forward-path is never `<>`: such a message could be delivered to nobody.",
    ),
    Difference(
        "A domain that looks like an IPv4 address",
        r"(?:MAIL|RCPT) with an address literal without brackets",
        "250",
        {POSTFIX: "501"},
        Right.BOTH,
        "RFC 5321 §4.1.2",
        "A Domain may consist of digits and dots. There is no such top-level domain, so Postfix takes no risk.",
    ),
    Difference(
        "A kind of address literal that nobody knows",
        r"(?:MAIL|RCPT) with an unknown kind of address literal",
        "250",
        {POSTFIX: "501"},
        Right.BOTH,
        "RFC 5321 §4.1.3",
        'In the grammar; but a tag "MUST be specified in a Standards-Track RFC and registered with IANA", and IPv6 is '
        "the only one. Whether it is known is for whoever relays the message.",
    ),
    Difference(
        "UTF-8 in a path, without SMTPUTF8",
        r"(?:MAIL|RCPT) with UTF-8, without SMTPUTF8",
        "553",
        _both("250"),
        Right.EHLO,
        "RFC 6531 §3.5",
        "553 with 5.6.7 is what the section gives. Postfix does so with `strict_smtputf8`.",
    ),
)

PARAMETERS: Final = (
    Difference(
        "RET, ENVID, NOTIFY, ORCPT",
        r"MAIL with (?:RET|ENVID).*|RCPT with (?:NOTIFY|ORCPT).*",
        "250|501",
        {AIOSMTPD: "555"},
        Right.BOTH,
        "RFC 3461 §3, RFC 5321 §4.1.1.11",
        "aiosmtpd does not offer DSN.",
    ),
    Difference(
        "BODY=BINARYMIME where it is not offered",
        r"MAIL with BODY=BINARYMIME",
        "555",
        {AIOSMTPD: "501"},
        Right.EHLO,
        "RFC 5321 §4.1.1.11",
        'A value that is known and not offered is a parameter that the server "cannot implement".',
    ),
    Difference(
        "A parameter with a value that it cannot have, or a word that is no parameter",
        r"MAIL with (?:BODY of another value|SIZE without a value|SMTPUTF8 with a value)"
        r"|(?:MAIL|RCPT) with a parameter that is none",
        "501",
        {POSTFIX: "555"},
        Right.BOTH,
        "RFC 5321 §4.2.2, §4.1.1.11",
        "501 says that the syntax is wrong, 555 that the parameter is unknown. ehlo keeps them apart.",
    ),
    Difference(
        "SIZE with more than 20 digits",
        r"MAIL with SIZE of 30 digits",
        "501",
        _both("552"),
        Right.BOTH,
        "RFC 1870 §3",
        "`size-value = 1*20DIGIT`: a syntax error. It is too big as well.",
    ),
    Difference(
        "SIZE twice",
        r"MAIL with SIZE twice",
        "501",
        _both("250"),
        Right.EHLO,
        "RFC 1870 §3",
        "Nobody says which of the two would count, so two servers in a row may read two messages out of one command.",
    ),
    Difference(
        "AUTH= where AUTH is not offered",
        r"MAIL with AUTH",
        "555",
        {POSTFIX: "250"},
        Right.EHLO,
        "RFC 4954 §5, RFC 5321 §4.1.1.11",
        'It was not offered. Some senders give it nevertheless: `ignore_parameters=["AUTH"]` is for them.',
    ),
)

COMMANDS: Final = (
    Difference(
        "EHLO or HELO with two words",
        r"EHLO with two words",
        "501",
        _both("250"),
        Right.EHLO,
        "RFC 5321 §4.1.1.1",
        "The argument is one Domain or address literal.",
    ),
    Difference(
        "AUTH where it is not offered",
        r"AUTH.*",
        "502|503",
        {AIOSMTPD: "538", POSTFIX: "503"},
        Right.BOTH,
        "RFC 5321 §4.2.4, RFC 4954 §6",
        "502 is for a command that is known and not implemented. 538 would mean that TLS helps, and there is none.",
    ),
    Difference(
        "STARTTLS where it is not offered",
        r"STARTTLS",
        "502|503",
        {AIOSMTPD: "454", POSTFIX: "502"},
        Right.BOTH,
        "RFC 5321 §4.2.4, RFC 3207 §4",
        '454 is "TLS not available due to temporary reason", and a client may wait for it to pass.',
    ),
    Difference(
        "ETRN where nobody has a queue",
        r"ETRN",
        "502|503",
        {AIOSMTPD: "500", POSTFIX: "459"},
        Right.BOTH,
        "RFC 5321 §4.2.4, RFC 1985",
        "Postfix offers ETRN, and this domain is none of those that it holds mail for.",
    ),
    Difference(
        "XCLIENT and XFORWARD from whoever is not trusted",
        r"XCLIENT|XFORWARD",
        "503|550",
        {AIOSMTPD: "500", POSTFIX: "550"},
        Right.BOTH,
        "Postfix's XCLIENT_README, RFC 5321 §4.1.4",
        "aiosmtpd does not know them. ehlo looks at the stage first.",
    ),
    Difference(
        "EXPN",
        r"EXPN.*",
        "501|502",
        {AIOSMTPD: "502", POSTFIX: "500"},
        Right.BOTH,
        "RFC 5321 §4.2.4",
        "502 is for a command that is recognized and not implemented, 500 for one that is not recognized. Without an "
        "argument it does not parse either.",
    ),
    Difference(
        "HELP",
        r"HELP.*",
        "214|504",
        {AIOSMTPD: "250|501", POSTFIX: "500"},
        Right.EHLO,
        "RFC 5321 §4.1.1.8, §4.3.2",
        "214 is its reply, 504 the one for a topic that there is nothing on. A server need not have HELP, as Postfix.",
    ),
    Difference(
        "QUIT with an argument",
        r"QUIT with an argument",
        "501",
        {POSTFIX: "221 closed"},
        Right.EHLO,
        "RFC 5321 §4.1.1",
        '"Several commands (RSET, DATA, QUIT) are specified as not permitting parameters", and "servers SHOULD reject '
        'commands containing them as having invalid syntax".',
    ),
    Difference(
        "A line of HTTP or of a header",
        r"HTTP|a header field",
        "500",
        {POSTFIX: "221 closed"},
        Right.BOTH,
        "RFC 5321 §4.2.4, §3.8",
        "Postfix closes (`smtpd_forbidden_commands`, and whatever looks like a header): this client was fooled into "
        "speaking SMTP. ehlo runs nothing of it, and closes at `error_limit`.",
    ),
    Difference(
        "NUL in a command line",
        r"NUL (?:in a line|behind a command)",
        "500",
        _both("250"),
        Right.EHLO,
        "RFC 5321 §2.3.8, §4.1.2",
        "No command has one. Software in C may see a shorter line than its neighbours.",
    ),
    Difference(
        "A bare CR in a command line",
        r"a bare CR in a line",
        "500",
        _both("250"),
        Right.EHLO,
        "RFC 5321 §2.3.8",
        'But for CRLF, implementations "MUST NOT recognize or generate any other character or character sequence as a '
        'line terminator"; a CR that might be one to others is refused.',
    ),
    Difference(
        "Octets that are no UTF-8",
        r"8-bit octets in an argument|MAIL with octets that are no UTF-8|RCPT with octets that are no UTF-8",
        "500",
        {AIOSMTPD: "250"},
        Right.EHLO,
        "RFC 6531 §3.3, RFC 5321 §2.4",
        "Commands are ASCII, and UTF-8 with SMTPUTF8.",
    ),
    Difference(
        "A space in front of a command",
        r"a space in front of a command",
        "500",
        {POSTFIX: "250"},
        Right.EHLO,
        "RFC 5321 §4.1.1, §2.3.8",
        "A command line begins with its verb.",
    ),
    Difference(
        "A tabulator behind a command",
        r"a tabulator behind a command",
        "250",
        {AIOSMTPD: "500"},
        Right.AIOSMTPD,
        "RFC 5321 §4.1.1",
        "A space stands there. To ehlo and Postfix the verb is known all the same: that of DATA, say, must not be "
        "overlooked.",
    ),
    Difference(
        "A command line of more than 512 octets",
        r"a line of (?:600|3000) octets",
        "500",
        {POSTFIX: "250"},
        Right.BOTH,
        "RFC 5321 §4.5.3.1.4, §4.5.3.1.9",
        "512 is what a server must take, 500 what it says to more; there may be more (Postfix's `line_length_limit`).",
    ),
)

DATA: Final = (
    Difference(
        "A bare CR or LF in mail data, or a CR beside a dot",
        r"mail data with (?:a bare (?:CR|LF)|CR \. (?:CR|CRLF)|CRLF \. CR)",
        "354 550 221 closed",
        _both("354 250 221 closed"),
        Right.EHLO,
        "RFC 5321 §2.3.8, §4.1.1.4",
        "Nobody may send one. ehlo refuses the message (`bare_newlines`), lest the next server takes it for the end of "
        "data. The other two take it as it is.",
    ),
    Difference(
        "LF . LF, LF . CRLF or CRLF . LF in mail data, with commands behind",
        r"mail data with (?:LF \. LF|LF \. CRLF|CRLF \. LF)",
        "354 550 221 closed",
        {AIOSMTPD: "354 250 221 closed", POSTFIX: "354 250 250 250 221 closed"},
        Right.EHLO,
        "RFC 5321 §4.1.1.4",
        "Mail data end at CRLF . CRLF and nowhere else. Postfix ends them here and runs the rest as commands (SMTP "
        "smuggling), unless `smtpd_forbid_bare_newline` is set.",
    ),
    Difference(
        "A line of 3000 octets in mail data",
        r"mail data with a line of 3000 octets",
        "354 250",
        {AIOSMTPD: "354 500"},
        Right.BOTH,
        "RFC 5321 §4.5.3.1.6",
        "1000 octets are what every server must take; real mail has longer lines. ehlo has `line_length_limit`.",
    ),
    Difference(
        "BDAT with a size or a word that does not parse",
        r"BDAT (?:without|with) .*",
        "501 closed",
        {POSTFIX: "521 closed"},
        Right.BOTH,
        "RFC 3030 §2, RFC 5321 §4.2.2",
        "Nobody knows how long the chunk is, so both close.",
    ),
)

SECTIONS: Final[Mapping[str, tuple[Difference, ...]]] = {
    "Sequence": SEQUENCE,
    "Paths": PATHS,
    "Parameters": PARAMETERS,
    "Commands": COMMANDS,
    "Mail data": DATA,
}
DIFFERENCES: Final = tuple(row for rows in SECTIONS.values() for row in rows)


def find(other: str, comparison: Comparison) -> Difference | None:
    """The row of a difference; None for one that is new."""
    return next((row for row in DIFFERENCES if row.covers(other, comparison)), None)


def tables() -> str:
    """All rows, as Markdown."""
    return "\n".join(line for title, rows in SECTIONS.items() for line in _table(title, rows))


def _table(title: str, rows: Iterable[Difference]) -> Iterator[str]:
    yield f"## {title}\n"
    yield f"| what the client says | ehlo | {' | '.join(OTHERS)} | right | source |"
    yield "|---|---|---|---|---|---|"
    for row in rows:
        same = {AIOSMTPD: "–" if row.what.startswith("BDAT") else "the same", POSTFIX: "the same"}
        theirs = " | ".join(_shown(row.theirs[other]) if other in row.theirs else same[other] for other in OTHERS)
        yield f"| **{row.title}.** {row.why} | {_shown(row.ours)} | {theirs} | {row.right} | {row.source} |"
    yield ""


def _shown(codes: str) -> str:
    return ", ".join(code.replace(" ", "&nbsp;") for code in codes.split("|"))


def page_with_tables(text: str) -> str:
    """The page with its tables as they are to be."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


def main() -> int:
    """Write the page."""
    PAGE.write_text(page_with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
