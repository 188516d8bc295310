"""XCLIENT and XFORWARD, https://www.postfix.org/XCLIENT_README.html and XFORWARD_README.html."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ehlo.errors import ArgumentError
from ehlo.protocol.xclient import (
    VALUE_LIMIT,
    XCLIENT_ATTRIBUTES,
    XFORWARD_ATTRIBUTES,
    XclientAttributes,
    XforwardAttributes,
    parse_xclient,
    parse_xforward,
)
from ehlo.protocol.xtext import encode_xtext


def test_ehlo_offers_the_attributes_of_both_readmes() -> None:
    assert XCLIENT_ATTRIBUTES == ("NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT")
    assert XFORWARD_ATTRIBUTES == ("NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE")


def test_the_xclient_of_the_readme_is_read() -> None:
    assert parse_xclient("NAME=spike.porcupine.org ADDR=168.100.189.2") == XclientAttributes(
        given=frozenset({"name", "addr"}), name="spike.porcupine.org", addr="168.100.189.2"
    )


def test_the_xforward_of_the_readme_is_read() -> None:
    assert parse_xforward("NAME=spike.porcupine.org ADDR=168.100.189.2 PROTO=ESMTP") == XforwardAttributes(
        given=frozenset({"name", "addr", "proto"}), name="spike.porcupine.org", addr="168.100.189.2", proto="ESMTP"
    )


XCLIENT_VALUES = [
    ("NAME=mail_1.example.com", "mail_1.example.com"),
    ("NAME=1.example", "1.example"),
    (f"NAME={'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 63}", f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 63}"),
    ("NAME=[UNAVAILABLE]", None),
    ("NAME=[unAvailable]", None),
    ("NAME=+5BUNAVAILABLE+5D", None),
    ("ADDR=192.0.2.1", "192.0.2.1"),
    ("ADDR=IPV6:2001:db8::1", "2001:db8::1"),
    ("ADDR=ipv6:2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
    ("ADDR=IPV6:::ffff:192.0.2.1", "192.0.2.1"),
    ("ADDR=[UNAVAILABLE]", None),
    ("PORT=0", 0),
    ("PORT=65535", 65535),
    ("PORT=[UNAVAILABLE]", None),
    ("PROTO=smtp", "SMTP"),
    ("PROTO=ESMTP", "ESMTP"),
    ("HELO=[192.0.2.1]", "[192.0.2.1]"),
    ("HELO=laptop_(old)@home", "laptop_(old)@home"),
    ("HELO=[UNAVAILABLE]", None),
    ("LOGIN=user+2Btag@example.com", "user+tag@example.com"),
    ("LOGIN=+C3+A9lise", "élise"),
    ("LOGIN=a+20b", "a b"),
    ("LOGIN=[UNAVAILABLE]", None),
    ("DESTADDR=IPV6:::1", "::1"),
    ("DESTADDR=[UNAVAILABLE]", None),
    ("DESTPORT=25", 25),
    ("DESTPORT=[UNAVAILABLE]", None),
]


@pytest.mark.parametrize(("arg", "value"), XCLIENT_VALUES)
def test_an_xclient_value_is_decoded_and_given_in_one_form(arg: str, value: str | int | None) -> None:
    field = arg.partition("=")[0].lower()
    attributes = parse_xclient(arg)
    assert attributes == XclientAttributes(given=frozenset({field}), **{field: value})  # type: ignore[arg-type]


XFORWARD_VALUES = [
    ("NAME=localhost", "localhost"),
    ("NAME=[UNAVAILABLE]", None),
    ("ADDR=IPV6:2001:db8::1", "2001:db8::1"),
    ("ADDR=[UNAVAILABLE]", None),
    ("PORT=1", 1),
    ("PORT=[UNAVAILABLE]", None),
    (f"PROTO={'X' * 64}", "X" * 64),
    ("PROTO=QMQP", "QMQP"),
    ("PROTO=[UNAVAILABLE]", None),
    ("HELO=[192.0.2.1]", "[192.0.2.1]"),
    ("HELO=[UNAVAILABLE]", None),
    ("IDENT=4fpdmQ0t96z1xnH", "4fpdmQ0t96z1xnH"),
    ("IDENT=!#$%&'*+2B,-./:+3D?[]^_`{|}~", "!#$%&'*+,-./:=?[]^_`{|}~"),
    ("IDENT=[UNAVAILABLE]", None),
    ("SOURCE=local", "LOCAL"),
    ("SOURCE=REMOTE", "REMOTE"),
    ("SOURCE=[UNAVAILABLE]", None),
]


@pytest.mark.parametrize(("arg", "value"), XFORWARD_VALUES)
def test_an_xforward_value_is_decoded_and_given_in_one_form(arg: str, value: str | int | None) -> None:
    field = arg.partition("=")[0].lower()
    attributes = parse_xforward(arg)
    assert attributes == XforwardAttributes(given=frozenset({field}), **{field: value})  # type: ignore[arg-type]


def test_every_attribute_is_read_and_has_its_field() -> None:
    assert {arg.partition("=")[0] for arg, _ in XCLIENT_VALUES} == set(XCLIENT_ATTRIBUTES)
    assert {arg.partition("=")[0] for arg, _ in XFORWARD_VALUES} == set(XFORWARD_ATTRIBUTES)


BAD_ANYWHERE = [
    "",
    " ",
    "NAME",
    "NAME=",
    "=a.example",
    "NAME=a.example ",
    " NAME=a.example",
    "NAME=a.example  PORT=1",
    "NAME=a.example\tPORT=1",
    "NAME=a.example NAME=a.example",
    "NAME=a.example name=b.example",
    "REVERSE_NAME=a.example",
    "NAME =a.example",
    "NAME=a=b",
    "NAME=a+2",
    "NAME=a+FF",
    "NAME=192.0.2.1",
    "NAME=2130706433",
    "NAME=-a.example",
    "NAME=a..example",
    "NAME=a.example.",
    "NAME=a(b",
    "NAME=a+20b",
    "NAME=b+C3+BCcher.example",
    f"NAME={'a' * 64}.example",
    "ADDR=[192.0.2.1]",
    "ADDR=192.0.2.01",
    "ADDR=192.0.2",
    "ADDR=192.0.2.256",
    "ADDR=192.0.2.1/32",
    "ADDR=2001:db8::1",
    "ADDR=IPV6:192.0.2.1",
    "ADDR=IPV6:2001:db8::1::2",
    "ADDR=IPV6:fe80::1%eth0",
    "ADDR=IPV6:",
    "ADDR=+C4+B1pv6:::1",
    "ADDR=[TEMPUNAVAIL]",
    "PORT=025",
    "PORT=65536",
    "PORT=-1",
    "PORT=+2B1",
    "PORT=25+20",
    "PORT=+D9+A1",
    "PORT=smtp",
    "PROTO=a+20b",
    "HELO=a+20b",
    "HELO=a+0D+0Ab",
    "HELO=a+00",
    "HELO=a+7F",
    "\u0131DENT=x",
    "\u017fOURCE=LOCAL",
    "HE\u0141O=x",
    "HELO=\u00e9",
    "HELO=\udce9",
]


@pytest.mark.parametrize("arg", BAD_ANYWHERE)
@pytest.mark.parametrize("parse", [parse_xclient, parse_xforward])
def test_what_neither_readme_allows_is_refused(parse: Any, arg: str) -> None:
    with pytest.raises(ArgumentError):
        parse(arg)


@pytest.mark.parametrize(
    "arg",
    [
        "IDENT=x",
        "SOURCE=LOCAL",
        "PROTO=QMQP",
        "PROTO=+C5+BFMTP",
        "PROTO=[UNAVAILABLE]",
        "PORT=[TEMPUNAVAIL]",
        "LOGIN=user+tag@example.com",
        "LOGIN=a+00b",
        "LOGIN=a+0D+0AMAIL",
        "LOGIN=+E2+80+AE",
        "DESTADDR=2001:db8::1",
        "DESTPORT=65536",
    ],
)
def test_what_xclient_alone_does_not_allow_is_refused(arg: str) -> None:
    with pytest.raises(ArgumentError):
        parse_xclient(arg)


@pytest.mark.parametrize(
    "arg",
    [
        "LOGIN=x",
        "DESTADDR=192.0.2.1",
        "DESTPORT=25",
        "NAME=[TEMPUNAVAIL]",
        "SOURCE=ELSEWHERE",
        "PROTO=" + "X" * 65,
        *(f"{name}=a{encode_xtext(special)}b" for name in ("HELO", "IDENT", "PROTO") for special in '()<>\\";@ \x07é'),
    ],
)
def test_what_xforward_alone_does_not_allow_is_refused(arg: str) -> None:
    with pytest.raises(ArgumentError):
        parse_xforward(arg)


def test_a_refusal_is_a_501_that_does_not_quote_the_client() -> None:
    for arg in ("SECRET=x", "NAME=SECRET SECRET=x", "HELO=SECRET+0A", "PORT=SECRET", "HELO=" + "SECRET" * 50, "HELO"):
        with pytest.raises(ArgumentError) as caught:
            parse_xclient(arg)
        assert caught.value.status.startswith("501 5.5.4 ")
        assert "SECRET" not in caught.value.status


def test_a_value_may_have_255_characters_before_decoding() -> None:
    assert parse_xclient("LOGIN=" + "x" * VALUE_LIMIT).login == "x" * VALUE_LIMIT
    assert parse_xclient("LOGIN=" + "+41" * (VALUE_LIMIT // 3)).login == "A" * (VALUE_LIMIT // 3)
    for value in ("x" * (VALUE_LIMIT + 1), "+41" * (VALUE_LIMIT // 3 + 1)):
        with pytest.raises(ArgumentError, match=r"has 25[68] characters"):
            parse_xclient("LOGIN=" + value)


def test_a_name_that_could_not_be_looked_up_for_now_is_told_from_none_at_all() -> None:
    for_now = parse_xclient("NAME=[tempunavail]")
    assert for_now == XclientAttributes(given=frozenset({"name"}), name_is_unavailable_for_now=True)
    assert parse_xclient("NAME=[UNAVAILABLE]", earlier=for_now) == XclientAttributes(given=frozenset({"name"}))
    named = parse_xclient("NAME=a.example", earlier=for_now)
    assert named == XclientAttributes(given=frozenset({"name"}), name="a.example")
    assert parse_xclient("PORT=1", earlier=for_now).name_is_unavailable_for_now


def test_addresses_and_names_of_an_earlier_xclient_stay_but_who_is_logged_in_does_not() -> None:
    first = parse_xclient(
        "NAME=a.example ADDR=192.0.2.1 PORT=1 PROTO=ESMTP HELO=a LOGIN=x DESTADDR=192.0.2.9 DESTPORT=25"
    )
    assert first.given == {name.lower() for name in XCLIENT_ATTRIBUTES}
    assert parse_xclient("PORT=2", earlier=first) == XclientAttributes(
        given=frozenset({"name", "addr", "port", "destaddr", "destport"}),
        name="a.example",
        addr="192.0.2.1",
        port=2,
        destaddr="192.0.2.9",
        destport=25,
    )


def test_what_the_last_xclient_says_about_the_login_counts() -> None:
    first = parse_xclient("LOGIN=x HELO=a")
    second = parse_xclient("LOGIN=y PROTO=SMTP", earlier=first)
    assert second == XclientAttributes(given=frozenset({"login", "proto"}), login="y", proto="SMTP")


def test_xforward_commands_add_up() -> None:
    first = parse_xforward("NAME=a.example ADDR=192.0.2.1 HELO=a IDENT=x")
    assert parse_xforward("HELO=b IDENT=[UNAVAILABLE] SOURCE=REMOTE", earlier=first) == XforwardAttributes(
        given=frozenset({"name", "addr", "helo", "ident", "source"}),
        name="a.example",
        addr="192.0.2.1",
        helo="b",
        source="REMOTE",
    )


@pytest.mark.parametrize("parse", [parse_xclient, parse_xforward])
def test_a_record_cannot_be_changed(parse: Any) -> None:
    attributes = parse("NAME=a.example", earlier=parse("PORT=1"))
    assert type(attributes.given) is frozenset
    assert hash(attributes) == hash(parse("PORT=1 NAME=a.example"))


def test_an_attribute_that_was_not_offered_is_unknown() -> None:
    offered = [name for name in XCLIENT_ATTRIBUTES if name != "LOGIN"]
    assert parse_xclient("HELO=a", offered=offered).helo == "a"
    with pytest.raises(ArgumentError, match="no attribute here: 'LOGIN'"):
        parse_xclient("HELO=a LOGIN=x", offered=offered)


# Pieces that get far into the parser, among others that do not.
pairs = st.builds(
    "{}={}".format,
    st.sampled_from(sorted({*XCLIENT_ATTRIBUTES, *XFORWARD_ATTRIBUTES})) | st.text(max_size=6),
    st.sampled_from(
        [
            *(arg.partition("=")[2] for arg, _ in XCLIENT_VALUES + XFORWARD_VALUES),
            *(arg.partition("=")[2] for arg in BAD_ANYWHERE),
        ]
    )
    | st.text(max_size=20).map(lambda text: encode_xtext(text.encode("utf-8", "replace").decode()))
    | st.text(max_size=20),
)
args = st.lists(pairs, max_size=9).map(" ".join) | st.text(max_size=60)


@given(args)
@example("\u017fOURCE=LOCAL")
def test_no_argument_raises_anything_but_an_argument_error(arg: str) -> None:
    for parse, kind in ((parse_xclient, XclientAttributes), (parse_xforward, XforwardAttributes)):
        try:
            attributes = parse(arg)
        except ArgumentError:
            continue
        assert type(attributes) is kind
        assert attributes.given == {pair.partition("=")[0].lower() for pair in arg.split(" ")}


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(str.isprintable))
def test_a_login_comes_through_xtext_unchanged(login: str) -> None:
    assert parse_xclient("LOGIN=" + encode_xtext(login)).login == login
