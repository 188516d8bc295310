"""Paths of MAIL and RCPT: what is accepted and as which mailbox, what is refused and with which error."""

from __future__ import annotations

import itertools
import re
import socket
import string
import time
from collections.abc import Callable, Iterator
from email.headerregistry import Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehlo.errors import ArgumentError, BadAddress, BadSenderAddress, ProtocolError
from ehlo.protocol import address
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

LONG_LABEL = "a" * 63
DOMAIN_OF_255 = f"{LONG_LABEL}.{LONG_LABEL}.{LONG_LABEL}.{LONG_LABEL}"
DOMAIN_OF_256 = f"{LONG_LABEL}.{LONG_LABEL}.{LONG_LABEL}.a.{'a' * 62}"

# -- Mailboxes, in any command -----------------------------------------------------------------------------

MAILBOXES = [
    "a@b",
    "a@b.c",
    "John.Doe@Example.COM",
    "!#$%&'*+-/=?^_`{|}~@example.com",
    "1@2",
    "a@1.2.3.4",  # a Domain by the rules, whatever DNS makes of it
    "a@my_host.example.com",
    "a@_dmarc.example.com",
    "a@xn--bcher-kva.example",
    "a@b--c.d",
    f"a@{LONG_LABEL}.example",
    f"a@{DOMAIN_OF_255}",
    f"{'a' * 300}@example.com",
    "bounces+a=b.example@verp.example",
    "SRS0=HHH=TT=example.org=alice@example.com",
    "prvs=0123456789=a@example.com",
    '"John Doe"@example.com',
    '""@example.com',
    '" "@example.com',
    '"a@b"@example.com',
    '"<a>"@example.com',
    '"> SIZE=1"@example.com',
    r'"a\"b\\c\ d"@example.com',
    '"a..b"@example.com',
    "a@[127.0.0.1]",
    "a@[255.255.255.255]",
    "a@[007.0.0.1]",  # Snum has leading zeros
    "a@[IPv6:::1]",
    "a@[IPV6:2001:DB8::1]",
    "a@[IPv6:1:2:3:4:5:6:7:8]",
    "a@[IPv6:1:2:3:4:5:6:7::]",  # "::" for one group, erratum 4315
    "a@[IPv6:::ffff:192.0.2.1]",
    "a@[x:y@z]",
    "a@[x:>]",
    "a@[2001:db8::1]",
    '"]"@[x:@]',
    "jürgen@example.com",
    "用户@例子.广告",
    "a@büro.example",
    "a@" + "ü" * 40 + ".example",
    '"jürgen müller"@example.com',
    "\U0001f4e7@\U0001f4e7.example",
    "e\u0301@example.com",  # not normalised to é
    "\xa0@example.com",
]

NO_MAILBOXES = [
    "a",
    "@",
    "@b",
    "a@",
    "a@b@c",
    "a b@c",
    " a@b",
    "a@b ",
    "a @b",
    "a@ b",
    "a@b.",
    "a@.b",
    "a@b..c",
    "a@-b",
    "a@b-",
    "a@b-.c",
    "a@b.-c",
    f"a@{LONG_LABEL}a.example",
    f"a@{DOMAIN_OF_256}",
    "a@" + ".".join(["ü" * 40] * 4),  # 163 characters, 323 octets
    f"a@[x:{'y' * 255}]",
    ".a@b",
    "a.@b",
    "a..b@c",
    "a,b@c",
    "a;b@c",
    "a:b@c",
    "(a)@b",
    "(comment)a@b",
    "a(comment)@b",
    "a@b(comment)",
    "a@(comment)b",
    "<a@b>",
    "a<b@c",
    "a>b@c",
    "a\\b@c",
    r"a\@b@c",
    'a"b"@c',
    '"a"b@c',
    '"a".b@c',  # obs-local-part of RFC 5322
    '"a"."b"@c',
    '"a@b',
    '"a"b"@c',
    r'"a\"@b',
    '"é\\é"@b',
    "a@[127.0.0.1",
    "a@127.0.0.1]",
    "a@[127.0.0.256]",
    "a@[127.0.0]",
    "a@[127.0.0.1].b",
    "a@b[127.0.0.1]",
    "a@[]",
    "a@[b]",
    "a@[IPv6:]",
    "a@[IPv6:1:2:3:4:5:6:7]",
    "a@[IPv6:1:2:3:4:5:6:7:8:9]",
    "a@[IPv6:1::2::3]",
    "a@[IPv6:12345::]",
    "a@[IPv6:g::]",
    "a@[IPv6:fe80::1%eth0]",
    "a@[IPv6:::256.0.0.1]",
    "a@[x:é]",
    "a\x00@b",
    "a@b\x00",
    "a\t@b",
    '"a\tb"@c',
    '"a\x7fb"@c',
    "a\r\n@b",
    "a@b\n",
    "a\x7f@b",
    "a\x80@b",
    "a@b\x85",
    "a\x9f@b",
    '"\x9f"@b',
    "a\udcff@b",
    "a@\udcff",
    '"\ud800"@b',
    "%a@",
]


@pytest.mark.parametrize("mailbox", MAILBOXES)
def test_a_mailbox_is_kept_exactly_as_sent(mailbox: str) -> None:
    assert parse_reverse_path(f"FROM:<{mailbox}>") == Path(mailbox, None)
    assert parse_forward_path(f"TO:<{mailbox}>") == Path(mailbox, None)
    assert is_mailbox(mailbox)


@pytest.mark.parametrize("mailbox", MAILBOXES)
@pytest.mark.parametrize("route", ["@r:", "@r,@s:", "@r.example,@_s,@\u30db\u30b9\u30c8.example:"])
def test_a_source_route_is_accepted_and_dropped(route: str, mailbox: str) -> None:
    assert parse_reverse_path(f"FROM:<{route}{mailbox}> SIZE=1") == Path(mailbox, "SIZE=1")
    assert parse_forward_path(f"TO:<{route}{mailbox}> SIZE=1") == Path(mailbox, "SIZE=1")


@pytest.mark.parametrize("text", NO_MAILBOXES)
def test_what_is_no_mailbox_is_refused_between_brackets(text: str) -> None:
    with pytest.raises(BadSenderAddress) as reverse:
        parse_reverse_path(f"FROM:<{text}>")
    with pytest.raises(BadAddress) as forward:
        parse_forward_path(f"TO:<{text}>")
    assert reverse.value.status == "553 5.1.7 Malformed address"
    assert forward.value.status == "553 5.1.3 Malformed address"
    assert not is_mailbox(text)


@pytest.mark.parametrize(
    "route",
    [
        "@:",
        "@r",
        "r:",
        "@r,:",
        "@r,s:",
        ",@r:",
        "@r@s:",
        "@r, @s:",
        "@r.:",
        "@-r:",
        "@[127.0.0.1]:",
        "@r:@s:",
        ":",
        "@r\x00:",
    ],
)
def test_a_malformed_source_route_is_refused(route: str) -> None:
    with pytest.raises(BadAddress):
        parse_forward_path(f"TO:<{route}a@b>")


# -- The argument around the mailbox -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arg", "path"),
    [
        ("FROM:<>", Path("", None)),
        ("FROM:<> SIZE=10", Path("", "SIZE=10")),
        ("from:<a@b>", Path("a@b", None)),
        ("FrOm:<a@b>", Path("a@b", None)),
        ("FROM: <a@b>", Path("a@b", None)),
        ("FROM:    <a@b>", Path("a@b", None)),
        ("FROM: <>", Path("", None)),
        ("FROM:<a@b> ", Path("a@b", None)),
        ("FROM:<a@b>    ", Path("a@b", None)),
        ("FROM:<a@b> SIZE=10", Path("a@b", "SIZE=10")),
        ("FROM:<a@b>   SIZE=10  BODY=8BITMIME   ", Path("a@b", "SIZE=10  BODY=8BITMIME")),
        ("FROM:<a@b> AUTH=<>", Path("a@b", "AUTH=<>")),
        ("FROM:<a@b> X=é", Path("a@b", "X=é")),
        ('FROM:<"a b"@c> x> y', Path('"a b"@c', "x> y")),
        ("FROM:<postmaster@b>", Path("postmaster@b", None)),
    ],
)
def test_the_argument_of_mail_is_path_and_parameters(arg: str, path: Path) -> None:
    assert parse_reverse_path(arg) == path


@pytest.mark.parametrize(
    ("arg", "path"),
    [
        ("TO:<Postmaster>", Path("Postmaster", None)),
        ("TO:<postmaster>", Path("postmaster", None)),
        ("TO: <POSTMASTER> NOTIFY=NEVER", Path("POSTMASTER", "NOTIFY=NEVER")),
        ("TO:<Postmaster@b>", Path("Postmaster@b", None)),
        ("to:<a@b>", Path("a@b", None)),
        ("tO:  <a@b>  NOTIFY=NEVER ", Path("a@b", "NOTIFY=NEVER")),
    ],
)
def test_the_argument_of_rcpt_is_path_and_parameters(arg: str, path: Path) -> None:
    assert parse_forward_path(arg) == path


# With {verb}, for both commands.
NO_ARGUMENTS = [
    "",
    " ",
    "{verb}",
    "{verb}:",
    "{verb}: ",
    "{verb}:a@b",
    "{verb}:a@b>",
    "{verb}:<a@b",
    "{verb}:<a@b SIZE=10",
    "{verb}:<",
    "{verb}:>",
    "{verb}<a@b>",
    "{verb} :<a@b>",
    " {verb}:<a@b>",
    "{verb}:x<a@b>",
    "{verb}:John Doe <a@b>",
    "{verb}:\t<a@b>",
    "{verb}:\x00<a@b>",
    "{verb}:\xa0<a@b>",
    "{verb}={verb}:<a@b>",
    "<a@b>",
    "X:<a@b>",
    "{verb}:<a@b>SIZE=10",
    "{verb}:<a@b>,<c@d>",
    "{verb}:<a@b>>",
    "{verb}:<a@b>\t",
    "{verb}:<a@b>\tSIZE=10",
    "{verb}:<a@b>\xa0SIZE=10",
    "{verb}:<a@b>\r\n",
    "{verb}:<a@b>\x00",
    "{verb}:<a@b> SIZE=10\x00",
    "{verb}:<a@b> SI\x01ZE=10",
    "{verb}:<a@b> X=\x7f",
    "{verb}:<a@b> X=\x85",
    "{verb}:<a@b> X=\udcff",
    "{verb}:<a@b> SIZE=10\tBODY=7BIT",
]


@pytest.mark.parametrize("template", NO_ARGUMENTS)
def test_what_is_no_path_in_brackets_is_a_syntax_error_of_the_argument(template: str) -> None:
    with pytest.raises(ArgumentError) as reverse:
        parse_reverse_path(template.format(verb="FROM"))
    with pytest.raises(ArgumentError) as forward:
        parse_forward_path(template.format(verb="TO"))
    assert reverse.value.status == "501 5.5.4 Syntax: MAIL FROM:<address>"
    assert forward.value.status == "501 5.5.4 Syntax: RCPT TO:<address>"


def test_the_keyword_of_one_command_is_not_for_the_other() -> None:
    with pytest.raises(ArgumentError):
        parse_reverse_path("TO:<a@b>")
    with pytest.raises(ArgumentError):
        parse_forward_path("FROM:<a@b>")


def test_the_null_path_is_no_recipient() -> None:
    with pytest.raises(BadAddress):
        parse_forward_path("TO:<>")


def test_postmaster_without_a_domain_is_no_sender() -> None:
    with pytest.raises(BadSenderAddress):
        parse_reverse_path("FROM:<Postmaster>")


@pytest.mark.parametrize(
    "text", ["<Post.master>", '<"Postmaster">', "<@r:Postmaster>", "< Postmaster>", "<po\u017ftmaster>"]
)
def test_only_the_plain_word_postmaster_needs_no_domain(text: str) -> None:
    with pytest.raises(BadAddress):
        parse_forward_path(f"TO:{text}")


def test_the_log_sees_the_beginning_of_a_malformed_argument_and_the_client_nothing_of_it() -> None:
    with pytest.raises(BadAddress) as refusal:
        parse_forward_path(f"TO:<secret\r\n{'x' * 10_000}>")
    assert "secret\\r\\n" in str(refusal.value)
    assert len(str(refusal.value)) < 300
    assert "secret" not in refusal.value.status


# -- Limits ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("local_part", "octets"),
    [("a" * 64, 64), ("a." * 20 + "a", 41), ("ü" * 32, 64), ('"a b"', 5), (r'"\""', 4)],
)
def test_a_limit_on_local_parts_is_in_octets_of_utf_8_and_includes_quotes(local_part: str, octets: int) -> None:
    mailbox = f"{local_part}@example.com"
    assert parse_reverse_path(f"FROM:<{mailbox}>", local_part_limit=octets).mailbox == mailbox
    assert parse_forward_path(f"TO:<{mailbox}>", local_part_limit=octets).mailbox == mailbox
    with pytest.raises(BadSenderAddress):
        parse_reverse_path(f"FROM:<{mailbox}>", local_part_limit=octets - 1)
    with pytest.raises(BadAddress):
        parse_forward_path(f"TO:<{mailbox}>", local_part_limit=octets - 1)


def test_a_limit_on_local_parts_does_not_concern_paths_without_one() -> None:
    assert parse_reverse_path("FROM:<>", local_part_limit=1).mailbox == ""
    assert parse_forward_path("TO:<Postmaster>", local_part_limit=1).mailbox == "Postmaster"


def test_a_limit_on_local_parts_does_not_concern_a_source_route() -> None:
    assert parse_forward_path("TO:<@route.example:a@b>", local_part_limit=1).mailbox == "a@b"


@pytest.mark.parametrize("local_part", ["a", "ü", '"a b"', "a" * 300])
def test_a_domain_has_at_most_255_octets_whatever_the_local_part(local_part: str) -> None:
    mailbox = f"{local_part}@{DOMAIN_OF_255}"
    assert parse_forward_path(f"TO:<{mailbox}>").mailbox == mailbox
    with pytest.raises(BadAddress):
        parse_forward_path(f"TO:<{local_part}@{DOMAIN_OF_256}>")


# -- The smaller questions ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        ("example.com", True),
        ("localhost", True),
        ("my_host", True),
        ("büro.example", True),
        ("1.2.3.4", True),
        (DOMAIN_OF_255, True),
        (DOMAIN_OF_256, False),
        ("", False),
        ("example.com.", False),
        ("a b", False),
        ("[127.0.0.1]", False),
        ("a@b", False),
        ("a\n", False),
    ],
)
def test_is_domain(text: str, claim: bool) -> None:
    assert is_domain(text) is claim


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        ("[127.0.0.1]", True),
        ("[IPv6:::1]", True),
        ("[x:y]", True),
        (f"[x:{'y' * 251}]", True),
        (f"[x:{'y' * 252}]", False),
        ("[IPv6:::1::]", False),
        ("[IPv6:y]", False),
        ("127.0.0.1", False),
        ("", False),
        ("example.com", False),
        ("[127.0.0.1]\n", False),
    ],
)
def test_is_address_literal(text: str, claim: bool) -> None:
    assert is_address_literal(text) is claim


@pytest.mark.parametrize(
    "text",
    [
        "mail.example.com",
        "[127.0.0.1]",
        "[IPv6:::1]",
        "[::1]",
        "192.0.2.1",
        "MY_PC",
        "localhost",
        "a.",
        "-",
        "büro",
        "x" * 400,
    ],
)
def test_a_helo_name_is_any_word(text: str) -> None:
    assert is_helo_name(text)


@pytest.mark.parametrize(
    "text", ["", " ", "a b", "a ", " a", "a\tb", "a\r", "a\n", "\x00", "a\x7f", "a\x85", "a\udcff"]
)
def test_a_helo_name_has_no_spaces_controls_or_broken_utf_8(text: str) -> None:
    assert not is_helo_name(text)


@pytest.mark.parametrize(
    ("mailbox", "local_part", "domain"),
    [
        ("a@b", "a", "b"),
        ('"a@b"@c', '"a@b"', "c"),
        ('"a@[b]"@c', '"a@[b]"', "c"),
        (r'"\"@"@c', r'"\"@"', "c"),
        ("a@[127.0.0.1]", "a", "[127.0.0.1]"),
        ("a@[x:y@z]", "a", "[x:y@z]"),
        ('"@["@[x:@]', '"@["', "[x:@]"),
        ("jürgen@büro.example", "jürgen", "büro.example"),
        ("Postmaster", "Postmaster", ""),
        ("", "", ""),
    ],
)
def test_a_mailbox_splits_into_local_part_and_domain(mailbox: str, local_part: str, domain: str) -> None:
    assert split_mailbox(mailbox) == (local_part, domain)


# -- Generated from the grammar ----------------------------------------------------------------------------

ATEXT = string.ascii_letters + string.digits + "!#$%&'*+-/=?^_`{|}~"
LET_DIG = string.ascii_letters + string.digits + "_"
GRAPHIC_OR_SPACE = "".join(map(chr, range(32, 127)))

utf8_non_ascii = st.characters(min_codepoint=0xA0, exclude_categories=["Cs"])


def international(ascii_chars: str) -> st.SearchStrategy[str]:
    """Nine characters of ten are ASCII."""
    return st.one_of(*[st.sampled_from(ascii_chars)] * 9, utf8_non_ascii)


labels = st.builds(
    lambda first, middle, last: first + middle + last,
    international(LET_DIG),
    st.text(international(LET_DIG + "-"), max_size=8),
    international(LET_DIG),
) | international(LET_DIG)
domains = st.lists(labels, min_size=1, max_size=4).map(".".join).filter(lambda domain: len(domain.encode()) <= 255)

snums = st.integers(0, 255).map(str)
ipv4 = st.ip_addresses(v=4).map(str)
ipv6 = st.ip_addresses(v=6).flatmap(lambda ip: st.sampled_from([str(ip), ip.exploded, str(ip).upper()]))
general = st.builds(
    "{}:{}".format,
    st.from_regex(r"[a-hj-z0-9]([a-z0-9-]{0,5}[a-z0-9])?", fullmatch=True),
    st.text(st.sampled_from("".join(char for char in GRAPHIC_OR_SPACE if char not in " [\\]")), min_size=1, max_size=9),
)
literals = st.builds("[{}]".format, ipv4 | ipv6.map("IPv6:{}".format) | general)

dot_strings = st.lists(st.text(international(ATEXT), min_size=1, max_size=9), min_size=1, max_size=4).map(".".join)
quoted_strings = st.lists(
    international(GRAPHIC_OR_SPACE.replace('"', "").replace("\\", ""))
    | st.sampled_from(GRAPHIC_OR_SPACE).map("\\{}".format),
    max_size=12,
).map(lambda content: f'"{"".join(content)}"')
local_parts = st.one_of(dot_strings, dot_strings, quoted_strings)

routes = st.lists(domains.map("@{}".format), min_size=1, max_size=3).map(lambda hops: ",".join(hops) + ":")
parameters = st.text(international(GRAPHIC_OR_SPACE), max_size=12)

any_case_from = st.sampled_from(["FROM:", "from:", "From:", "FROM: ", "fROM:   "])


@st.composite
def mail_arguments(draw: st.DrawFn) -> tuple[str, str, str, str]:
    """An argument of MAIL; the local part, domain and parameters within."""
    local_part, domain = draw(local_parts), draw(st.one_of(domains, domains, literals))
    route = draw(st.just("") | st.just("") | routes)
    tail = draw(st.just("") | parameters.map(" {}".format))
    return f"{draw(any_case_from)}<{route}{local_part}@{domain}>{tail}", local_part, domain, tail


@given(mail_arguments())
def test_whatever_the_grammar_makes_is_taken_apart_as_it_was_made(made: tuple[str, str, str, str]) -> None:
    arg, local_part, domain, tail = made
    path = parse_reverse_path(arg)
    assert path == Path(f"{local_part}@{domain}", tail.strip(" ") or None)
    assert split_mailbox(path.mailbox) == (local_part, domain)
    assert is_mailbox(path.mailbox)
    assert is_address_literal(domain) if domain.startswith("[") else is_domain(domain)


# -- One way or the other ----------------------------------------------------------------------------------

more_examples = settings(max_examples=max(500, settings().max_examples))

NASTY = 'a1.-_@"\\ <>[](),:;=é\x00\t\r\x7f\x85\xa0\ud800\udcff\U0001f4e7'


def outcome(parse: Callable[..., Path], *args: object, **kwargs: object) -> Path | tuple[type[ProtocolError], str]:
    try:
        return parse(*args, **kwargs)
    except ProtocolError as error:
        return type(error), error.status


@st.composite
def mutated_arguments(draw: st.DrawFn) -> str:
    """An argument of MAIL with up to three characters replaced, removed, inserted."""
    arg = draw(mail_arguments())[0]
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(arg)))
        arg = arg[:at] + draw(st.sampled_from(["", *NASTY])) + arg[at + draw(st.integers(0, 1)) :]
    return arg


def assert_both_paths_agree(argument: str, limit: int) -> None:
    """``argument`` is that of MAIL or RCPT without its first word."""
    assert outcome(parse_reverse_path, f"FROM{argument}", local_part_limit=limit) == outcome(
        address._parse_slowly, f"FROM{argument}", address._MAIL, limit
    )
    assert outcome(parse_forward_path, f"TO{argument}", local_part_limit=limit) == outcome(
        address._parse_slowly, f"TO{argument}", address._RCPT, limit
    )


@more_examples
@given(mutated_arguments(), st.sampled_from([0, 1, 5, 64]))
def test_the_fast_path_never_contradicts_the_slow_one(arg: str, limit: int) -> None:
    assert_both_paths_agree(re.sub("^FROM", "", arg, flags=re.IGNORECASE), limit)


@pytest.mark.parametrize("mailbox", [*MAILBOXES, *NO_MAILBOXES, "", "Postmaster"])
def test_the_fast_path_never_contradicts_the_slow_one_in_the_tables(mailbox: str) -> None:
    for tail in ("", " ", " x", " x ", "x", "\x00", " \x00"):
        for limit in (0, 1, 64):
            assert_both_paths_agree(f":<{mailbox}>{tail}", limit)


# -- The grammar once more, with loops and splits instead of patterns ---------------------------------------


def is_beyond_ascii(char: str) -> bool:
    return char >= "\xa0" and not "\ud800" <= char <= "\udfff"


def plain_is_domain(text: str) -> bool:
    return (
        all(
            1 <= len(label) <= 63
            and all(char in LET_DIG + "-" or is_beyond_ascii(char) for char in label)
            and label[0] != "-"
            and label[-1] != "-"
            for label in text.split(".")
        )
        and len(text.encode()) <= 255
    )


def plain_is_literal(text: str) -> bool:
    if not (text.startswith("[") and text.endswith("]")) or len(text) > 255:
        return False
    tag, colon, content = text[1:-1].partition(":")
    if not colon:
        return (
            all(part.isascii() and part.isdigit() and len(part) <= 3 and int(part) <= 255 for part in tag.split("."))
            and tag.count(".") == 3
        )
    if tag.lower() == "ipv6":
        return plain_is_ip(socket.AF_INET6, content)
    ldh = string.ascii_letters + string.digits + "-"
    return (
        tag != ""
        and all(char in ldh for char in tag)
        and tag[-1] != "-"
        and content != ""
        and all("!" <= char <= "~" and char not in "[\\]" for char in content)
    )


def plain_is_ip(family: int, text: str) -> bool:
    try:
        socket.inet_pton(family, text)
    except (OSError, ValueError):
        return False
    return True


def plain_is_local_part(text: str) -> bool:
    if not text.startswith('"'):
        return all(atom and all(char in ATEXT or is_beyond_ascii(char) for char in atom) for atom in text.split("."))
    chars = iter(text[1:])
    for char in chars:
        if char == '"':
            return not list(chars)
        if char == "\\":
            if not " " <= next(chars, "") <= "~":
                return False
        elif not (" " <= char <= "~" or is_beyond_ascii(char)):
            return False
    return False


def plain_splits(text: str) -> Iterator[tuple[str, str]]:
    """Every way to read the text as a Mailbox; there must never be two."""
    for at, char in enumerate(text):
        if char == "@" and plain_is_local_part(text[:at]):
            domain = text[at + 1 :]
            if plain_is_domain(domain) or plain_is_literal(domain):
                yield text[:at], domain


def assert_read_as_by_plain_rules(text: str) -> None:
    splits = list(plain_splits(text))
    assert len(splits) <= 1
    assert is_mailbox(text) == bool(splits)
    if splits:
        assert split_mailbox(text) == splits[0]


def test_every_short_text_is_a_mailbox_or_not_by_the_plain_rules() -> None:
    for length in range(1, 6):
        for chars in itertools.product('a.-@"\\ [:]é', repeat=length):
            assert_read_as_by_plain_rules("".join(chars))


@more_examples
@given(mutated_arguments())
def test_a_longer_text_is_a_mailbox_or_not_by_the_plain_rules(arg: str) -> None:
    assert_read_as_by_plain_rules(re.sub(r"(?i)^from: *<|>.*", "", arg))


# -- The standard library's opinion ------------------------------------------------------------------------


@given(st.text("0123456789abcdefABCDEF:.", max_size=40) | ipv6 | st.builds("::{}".format, ipv4))
def test_an_ipv6_literal_is_what_the_socket_module_reads(text: str) -> None:
    assert is_address_literal(f"[IPv6:{text}]") == plain_is_ip(socket.AF_INET6, text)


@given(st.lists(snums | st.sampled_from(["", "256", "999", "1e1", "x", "-1"]), min_size=1, max_size=5).map(".".join))
def test_an_ipv4_literal_is_what_the_socket_module_reads(text: str) -> None:
    assert is_address_literal(f"[{text}]") == plain_is_ip(socket.AF_INET, text)


ascii_labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)


@given(
    st.lists(st.text(st.sampled_from(ATEXT), min_size=1, max_size=9), min_size=1, max_size=4).map(".".join),
    st.lists(ascii_labels, min_size=1, max_size=4).map(".".join),
)
def test_the_email_package_reads_ordinary_mailboxes_alike(local_part: str, domain: str) -> None:
    mailbox = parse_forward_path(f"TO:<{local_part}@{domain}>").mailbox
    theirs = Address(addr_spec=mailbox)
    assert split_mailbox(mailbox) == (theirs.username, theirs.domain)


# -- Time --------------------------------------------------------------------------------------------------

N = 100_000


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param("a." * (N // 2), id="a.a.a."),
        pytest.param("(" * N, id="((("),
        pytest.param('"' + '\\"' * (N // 2), id="open quote"),
        pytest.param('"' * N, id="quotes"),
        pytest.param("@a," * (N // 3), id="@a,@a,"),
        pytest.param("@" * N, id="@@@"),
        pytest.param("a@[IPv6:" + ":" * N, id="colons"),
        pytest.param("a@[IPv6:" + ":" * N + "]", id="colons in a literal"),
        pytest.param("a@[IPv6:" + "1:" * (N // 2) + "]", id="groups in a literal"),
        pytest.param("a@" + "ü." * (N // 2) + "ü", id="domain without end"),
        pytest.param("<" * N, id="<<<"),
        pytest.param(">" * N, id=">>>"),
        pytest.param(" " * N, id="spaces"),
        pytest.param("a@b>" + "> " * (N // 2), id="brackets in parameters"),
        pytest.param("a@b>" + " a" * (N // 2) + "\x01", id="late control"),
    ],
)
def test_hostile_input_takes_linear_time(hostile: str) -> None:
    start = time.process_time()
    for arg in (
        f"FROM:<{hostile}",
        f"FROM:<{hostile}>",
        f"FROM:<{hostile}@b>",
        f"FROM:<@{hostile}:a@b>",
        f"FROM:{hostile}",
    ):
        outcome(parse_reverse_path, arg, local_part_limit=64)
        is_mailbox(arg[6:])
        split_mailbox(arg[6:])
    for predicate in (is_domain, is_address_literal, is_helo_name):
        predicate(hostile)
        predicate(f"[{hostile}]")
    # Linear is a few ms for all; quadratic is 10**10 steps, half a minute at the least.
    assert time.process_time() - start < 1
