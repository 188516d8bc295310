"""MAIL and RCPT parameters: one table of good values and one of bad ones, each with every keyword."""

from __future__ import annotations

import unicodedata
from contextlib import suppress
from dataclasses import FrozenInstanceError, fields
from datetime import UTC, datetime
from itertools import combinations
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehlo.errors import ArgumentError, ProtocolError, UnknownParameter
from ehlo.protocol.parameters import (
    ENVID_LIMIT,
    MAIL_PARAMETERS,
    NO_MAIL_PARAMETERS,
    NO_RECIPIENT_PARAMETERS,
    RCPT_PARAMETERS,
    Body,
    ByMode,
    DeliverBy,
    MailParameters,
    NoSupport,
    Notify,
    OriginalRecipient,
    Parameter,
    RecipientParameters,
    RequireValidSince,
    Ret,
    line_allowance,
    parse_mail_parameters,
    parse_rcpt_parameters,
    split_parameters,
)
from ehlo.protocol.xtext import encode_xtext

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Parse = Callable[..., MailParameters | RecipientParameters]

ALL_PARAMETERS = {**MAIL_PARAMETERS, **RCPT_PARAMETERS}
EVERYTHING = frozenset(p.extension for p in ALL_PARAMETERS.values()) | {"BINARYMIME"}

# RFC 3461 §10.1 and friends; the raw parameter, and the value that it means.
GOOD: dict[str, list[tuple[str, object]]] = {
    "SIZE": [
        ("SIZE=0", 0),
        ("size=500000", 500_000),
        ("SIZE=007", 7),
        ("SIZE=99999999999999999999", 10**20 - 1),
    ],
    "BODY": [
        ("BODY=7BIT", Body.SEVENBIT),
        ("BODY=8BITMIME", Body.EIGHTBITMIME),
        ("body=8BitMime", Body.EIGHTBITMIME),
        ("BODY=BINARYMIME", Body.BINARYMIME),
        ("BODY=binarymime", Body.BINARYMIME),
    ],
    "SMTPUTF8": [("SMTPUTF8", True), ("smtputf8", True)],
    "REQUIRETLS": [("REQUIRETLS", True), ("RequireTLS", True)],
    "AUTH": [
        ("AUTH=<>", ""),
        ("AUTH=+3C+3E", ""),
        ("AUTH=e+3Dmc2@example.com", "e=mc2@example.com"),
        ("auth=User+2Btag@Example.com", "User+tag@Example.com"),
        ("AUTH=user+2btag@example.com", "user+tag@example.com"),
        ("AUTH=user", "user"),
        ("AUTH=<user>", "<user>"),
        ("AUTH=+C3+A9@example.com", "é@example.com"),
    ],
    "RET": [("RET=FULL", Ret.FULL), ("RET=HDRS", Ret.HDRS), ("ret=hdrs", Ret.HDRS)],
    "ENVID": [
        ("ENVID=QQ314159", "QQ314159"),
        ("ENVID=Case+2Bkept+20here", "Case+kept here"),
        ("ENVID=a+09b", "a\tb"),
        ("ENVID=" + "x" * 100, "x" * 100),
    ],
    "BY": [
        ("BY=120;R", DeliverBy(120, ByMode.RETURN, trace=False)),
        ("BY=+120;RT", DeliverBy(120, ByMode.RETURN, trace=True)),
        ("by=999999999;nt", DeliverBy(999_999_999, ByMode.NOTIFY, trace=True)),
        ("BY=-999999999;N", DeliverBy(-999_999_999, ByMode.NOTIFY, trace=False)),
        ("BY=0;N", DeliverBy(0, ByMode.NOTIFY, trace=False)),
        ("BY=1;R", DeliverBy(1, ByMode.RETURN, trace=False)),
    ],
    "HOLDFOR": [("HOLDFOR=1", 1), ("HOLDFOR=999999999", 999_999_999)],
    "HOLDUNTIL": [
        ("HOLDUNTIL=2030-01-02T03:04:05Z", datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("HOLDUNTIL=2030-01-02t03:04:05z", datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("HOLDUNTIL=2030-01-02T03:04:05.25Z", datetime(2030, 1, 2, 3, 4, 5, 250_000, tzinfo=UTC)),
        ("HOLDUNTIL=2030-01-02T03:04:05.123456789Z", datetime(2030, 1, 2, 3, 4, 5, 123_456, tzinfo=UTC)),
        ("HOLDUNTIL=2030-01-02T03:04:05+02:30", datetime(2030, 1, 2, 0, 34, 5, tzinfo=UTC)),
        ("HOLDUNTIL=2030-01-02T03:04:05-00:00", datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("HOLDUNTIL=2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("HOLDUNTIL=9999-12-31T23:59:59Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
    "MT-PRIORITY": [(f"MT-PRIORITY={n}", n) for n in range(-9, 10)],
    "NOTIFY": [
        ("NOTIFY=NEVER", Notify.NEVER),
        ("notify=never", Notify.NEVER),
        ("NOTIFY=SUCCESS", Notify.SUCCESS),
        ("NOTIFY=Delay,Failure", Notify.DELAY | Notify.FAILURE),
        ("NOTIFY=SUCCESS,FAILURE,DELAY", Notify.SUCCESS | Notify.FAILURE | Notify.DELAY),
        ("NOTIFY=SUCCESS,SUCCESS", Notify.SUCCESS),
        ("NOTIFY=,SUCCESS,,DELAY,", Notify.SUCCESS | Notify.DELAY),
    ],
    "ORCPT": [
        ("ORCPT=rfc822;Bob@Example.COM", OriginalRecipient("rfc822", "Bob@Example.COM", "rfc822;Bob@Example.COM")),
        ("ORCPT=RFC822;root", OriginalRecipient("RFC822", "root", "RFC822;root")),
        ("orcpt=rfc822;a+2Bb+20c@d", OriginalRecipient("rfc822", "a+b c@d", "rfc822;a+2Bb+20c@d")),
        ("ORCPT=rfc822;", OriginalRecipient("rfc822", "", "rfc822;")),
        ("ORCPT=rfc822;a;b", OriginalRecipient("rfc822", "a;b", "rfc822;a;b")),
        ("ORCPT=x-mts+1;/c+3Dde/", OriginalRecipient("x-mts+1", "/c=de/", "x-mts+1;/c+3Dde/")),
        (r"ORCPT=UTF-8;\x{E9}\x{2B}@a", OriginalRecipient("UTF-8", "é+@a", r"UTF-8;\x{E9}\x{2B}@a")),
        ("ORCPT=utf-8;é@中文", OriginalRecipient("utf-8", "é@中文", "utf-8;é@中文")),
        ("ORCPT=rfc822;" + "x" * 493, OriginalRecipient("rfc822", "x" * 493, "rfc822;" + "x" * 493)),
    ],
    "RRVS": [
        ("RRVS=2014-04-03T23:01:00Z", RequireValidSince(datetime(2014, 4, 3, 23, 1, tzinfo=UTC), NoSupport.REJECT)),
        ("RRVS=2014-04-03T23:01:00Z;R", RequireValidSince(datetime(2014, 4, 3, 23, 1, tzinfo=UTC), NoSupport.REJECT)),
        (
            "rrvs=2014-04-03T23:01:00-01:00;c",
            RequireValidSince(datetime(2014, 4, 4, 0, 1, tzinfo=UTC), NoSupport.CONTINUE),
        ),
    ],
}

BAD: dict[str, list[str]] = {
    "SIZE": ["SIZE", "SIZE=x", "SIZE=-1", "SIZE=+1", "SIZE=1k", "SIZE=1.0", "SIZE=100000000000000000000", "SIZE=٣"],
    "BODY": ["BODY", "BODY=FOO", "BODY=8BIT", "BODY=BINARY", "BODY=8B\u0131TMIME", "BODY=B\u0131NARYMIME"],
    "SMTPUTF8": ["SMTPUTF8=1", "SMTPUTF8=yes"],
    "REQUIRETLS": ["REQUIRETLS=1", "REQUIRETLS=YES"],
    "AUTH": [
        "AUTH",
        "AUTH=a+",
        "AUTH=a+4",
        "AUTH=a+ZZ",
        "AUTH=é@a",
        "AUTH=a+0D+0Ab",
        "AUTH=a+00",
        "AUTH=a+7F",
        "AUTH=a+C2+85",
        "AUTH=+FF",
    ],
    "RET": ["RET", "RET=NONE", "RET=FULL,HDRS", "RET=HDR\u017f"],
    "ENVID": ["ENVID", "ENVID=a+", "ENVID=a+0Ab", "ENVID=a+0Db", "ENVID=+C3+A9", "ENVID=é", "ENVID=" + "x" * 101],
    "BY": [
        "BY",
        "BY=120",
        "BY=120;",
        "BY=120;X",
        "BY=120;RX",
        "BY=;R",
        "BY=1234567890;R",
        "BY=1.5;R",
        "BY=R;120",
        "BY=0;R",
        "BY=-1;R",
        "BY=-0;RT",
        "BY=120;TR",
        "BY=٣;R",
        "BY=120;R;T",
    ],
    "HOLDFOR": ["HOLDFOR", "HOLDFOR=0", "HOLDFOR=-1", "HOLDFOR=01", "HOLDFOR=1000000000", "HOLDFOR=1h"],
    "HOLDUNTIL": [
        "HOLDUNTIL",
        "HOLDUNTIL=tomorrow",
        "HOLDUNTIL=2030-01-02",
        "HOLDUNTIL=2030-01-02T03:04Z",
        "HOLDUNTIL=2030-01-02T03:04:05",
        "HOLDUNTIL=20300102T030405Z",
        "HOLDUNTIL=2030-W01-2T03:04:05Z",
        "HOLDUNTIL=2030-13-02T03:04:05Z",
        "HOLDUNTIL=2030-02-30T03:04:05Z",
        "HOLDUNTIL=2030-01-02T24:00:00Z",
        "HOLDUNTIL=2030-01-02T03:04:61Z",
        "HOLDUNTIL=2030-01-02T03:04:05.Z",
        "HOLDUNTIL=2030-01-02T03:04:05+24:00",
        "HOLDUNTIL=2030-01-02T03:04:05+01:60",
        "HOLDUNTIL=0000-01-02T03:04:05Z",
        "HOLDUNTIL=0001-01-01T00:00:00+01:00",
        "HOLDUNTIL=9999-12-31T23:59:59-01:00",
        "HOLDUNTIL=9999-12-31T23:59:60Z",
    ],
    "MT-PRIORITY": [
        "MT-PRIORITY",
        *(f"MT-PRIORITY={text}" for text in ("10", "-10", "-0", "+1", "00", "01", "x", "1.5")),
    ],
    "NOTIFY": [
        "NOTIFY",
        "NOTIFY=ALWAYS",
        "NOTIFY=NEVER,SUCCESS",
        "NOTIFY=SUCCESS,NEVER",
        "NOTIFY=NEVER,NEVER",
        "NOTIFY=NEVER,",
        "NOTIFY=,",
        "NOTIFY=,,",
        "NOTIFY=SUCCESS;DELAY",
        "NOTIFY=\u017fUCCESS",
        "NOTIFY=7",
    ],
    "ORCPT": [
        "ORCPT",
        "ORCPT=bob@example.com",
        "ORCPT=;bob@example.com",
        "ORCPT=rfc(822);bob",
        "ORCPT=rfc822;bob+",
        "ORCPT=rfc822;bob+4",
        "ORCPT=rfc822;bob+0D+0A",
        "ORCPT=rfc822;+C3+A9",
        "ORCPT=rfc822;é",
        "ORCPT=é;bob",
        "ORCPT=utf-8;",
        "ORCPT=utf-8;a+b",
        "ORCPT=utf-8;a\\b",
        r"ORCPT=utf-8;a\x{0A}b",
        r"ORCPT=utf-8;a\x{11}b",
        r"ORCPT=utf-8;a\x{85}b",
        "ORCPT=rfc822;" + "x" * 494,
        "ORCPT=utf-8;" + "é" * 248,
        "ORCPT=x.400;/c+3Dde/",  # an atom holds no dot
        r"ORCPT=utf-8;\x{E9}+2B@a",  # one encoding or the other
    ],
    "RRVS": [
        "RRVS",
        "RRVS=2014-04-03",
        "RRVS=2014-04-03T23:01:00.5Z",
        "RRVS=2014-04-03T23:01:00Z;",
        "RRVS=2014-04-03T23:01:00Z;X",
        "RRVS=2014-04-03T23:01:00Z;C;R",
        "RRVS=;C",
    ],
}


def parser_of(keyword: str) -> Parse:
    return parse_mail_parameters if keyword in MAIL_PARAMETERS else parse_rcpt_parameters


def rows(table: Mapping[str, list[str]] | Mapping[str, list[tuple[str, object]]]) -> list[tuple[object, ...]]:
    return [(key, *row) if isinstance(row, tuple) else (key, row) for key, values in table.items() for row in values]


# The tables


@pytest.mark.parametrize("table", [GOOD, BAD])
def test_every_keyword_has_good_and_bad_values_in_this_file(table: Mapping[str, object]) -> None:
    assert set(table) == set(ALL_PARAMETERS)


@pytest.mark.parametrize(
    ("table", "record"), [(MAIL_PARAMETERS, MailParameters), (RCPT_PARAMETERS, RecipientParameters)]
)
def test_every_attribute_has_one_keyword(
    table: Mapping[str, Parameter], record: type[MailParameters | RecipientParameters]
) -> None:
    names = [field.name for field in fields(record)]
    assert [*(row.attribute for row in table.values()), "unknown"] == names
    assert all(keyword == row.keyword == keyword.upper() for keyword, row in table.items())


@pytest.mark.parametrize(("keyword", "option", "value"), rows(GOOD))
def test_a_good_value_is_typed_and_alone(keyword: str, option: str, value: object) -> None:
    parsed = parser_of(keyword)(split_parameters(option), offered=EVERYTHING)
    attribute = ALL_PARAMETERS[keyword].attribute
    assert getattr(parsed, attribute) == value
    assert type(getattr(parsed, attribute)) is type(value)
    assert [f.name for f in fields(parsed) if getattr(parsed, f.name) != f.default] == [attribute]


@pytest.mark.parametrize(("keyword", "option"), rows(BAD))
def test_a_bad_value_is_501_and_is_not_quoted(keyword: str, option: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        parser_of(keyword)(split_parameters(option), offered=EVERYTHING)
    assert caught.value.status == f"501 5.5.4 Syntax error in {keyword} parameter"


@pytest.mark.parametrize(("keyword", "option", "value"), rows(GOOD))
def test_each_parameter_needs_its_extension_and_no_other(keyword: str, option: str, value: object) -> None:
    needed = "BINARYMIME" if value is Body.BINARYMIME else ALL_PARAMETERS[keyword].extension
    options = split_parameters(option)
    offered = {needed} if option.isascii() else {needed, "SMTPUTF8"}
    assert getattr(parser_of(keyword)(options, offered=offered), ALL_PARAMETERS[keyword].attribute) == value
    with pytest.raises(UnknownParameter) as caught:
        parser_of(keyword)(options, offered=EVERYTHING - {needed})
    assert caught.value.status == "555 5.5.4 Parameters not recognized or not implemented"


def test_a_parameter_of_rcpt_is_unknown_to_mail_and_the_other_way_round() -> None:
    for keyword, values in GOOD.items():
        other = parse_rcpt_parameters if keyword in MAIL_PARAMETERS else parse_mail_parameters
        with pytest.raises(UnknownParameter):
            other([values[0][0]], offered=EVERYTHING)


@pytest.mark.parametrize(("keyword", "option", "value"), rows(GOOD))
def test_every_parameter_twice_is_501(keyword: str, option: str, value: object) -> None:
    with pytest.raises(ArgumentError) as caught:
        parser_of(keyword)([option, option.swapcase()], offered=EVERYTHING)
    assert caught.value.status == "501 5.5.4 Duplicate parameter"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pair
        for pair in combinations([values[0][0] for key, values in GOOD.items() if key in MAIL_PARAMETERS], 2)
        if pair != ("HOLDFOR=1", "HOLDUNTIL=2030-01-02T03:04:05Z")
    ],
)
def test_parameters_of_different_keywords_go_together_in_either_order(first: str, second: str) -> None:
    one = parse_mail_parameters([first, second], offered=EVERYTHING)
    other = parse_mail_parameters([second, first], offered=EVERYTHING)
    assert one == other
    assert sum(getattr(one, f.name) != f.default for f in fields(one)) == 2


# Splitting


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", []),
        ("   ", []),
        ("SIZE=1", ["SIZE=1"]),
        (" SIZE=1", ["SIZE=1"]),
        ("  size=1   Body=8bitmime ", ["size=1", "Body=8bitmime"]),
        ("SMTPUTF8", ["SMTPUTF8"]),
        ("X-1=a", ["X-1=a"]),
        ("8=!~<>", ["8=!~<>"]),
        ("ORCPT=utf-8;é@中文", ["ORCPT=utf-8;é@中文"]),
    ],
)
def test_split_keeps_the_order_and_the_case(text: str, options: list[str]) -> None:
    assert split_parameters(text) == options


@pytest.mark.parametrize(
    "text",
    [
        "=",
        "=1",
        "SIZE=",
        "SIZE==1",
        "SIZE=1=2",
        "-X=1",
        "A_B=1",
        "É=1",
        "A=\x00",
        "A=\x7f",
        "A=\t",
        "A\tB",
        "A\u00a0B",
        "A=1\n",
        "A=1\r\n",
        "A=\udc80",
        "<>",
        "SIZE=1 =",
    ],
)
def test_what_is_no_esmtp_param_is_501(text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        split_parameters(text)
    assert caught.value.status == "501 5.5.4 Syntax error in parameters"


# Ignoring and passing on


def test_an_unknown_keyword_is_555() -> None:
    with pytest.raises(UnknownParameter, match="XFOO"):
        parse_mail_parameters(["SIZE=1", "XFOO=bar"], offered=EVERYTHING)


def test_an_ignored_keyword_is_dropped_whatever_its_value_is() -> None:
    parsed = parse_mail_parameters(["xfoo=bar", "RET=what", "SIZE=1"], offered={"SIZE"}, ignored={"XFOO", "RET"})
    assert parsed == MailParameters(size=1)


def test_a_passed_keyword_is_kept_raw_and_in_order() -> None:
    options = ["xFoo=Bar", "SIZE=1", "NOTIFY=é", "XBAR"]
    parsed = parse_mail_parameters(options, offered={"SIZE"}, passed={"XFOO", "XBAR", "NOTIFY"})
    assert parsed == MailParameters(size=1, unknown=("xFoo=Bar", "NOTIFY=é", "XBAR"))


def test_passing_on_wins_over_ignoring() -> None:
    parsed = parse_rcpt_parameters(["NOTIFY=NEVER"], offered=(), ignored={"NOTIFY"}, passed={"NOTIFY"})
    assert parsed == RecipientParameters(unknown=("NOTIFY=NEVER",))


def test_an_offered_parameter_is_neither_ignored_nor_passed_on() -> None:
    with pytest.raises(ArgumentError):
        parse_mail_parameters(["SIZE=x"], offered={"SIZE"}, ignored={"SIZE"}, passed={"SIZE"})


def test_binarymime_may_be_ignored_where_it_is_not_offered() -> None:
    assert parse_mail_parameters(["BODY=BINARYMIME"], offered={"8BITMIME"}, ignored={"BODY"}) == NO_MAIL_PARAMETERS


@pytest.mark.parametrize("settings_", [{"ignored": {"XFOO"}}, {"passed": {"XFOO"}}])
def test_an_unknown_keyword_twice_is_501_like_any_other(settings_: dict[str, set[str]]) -> None:
    with pytest.raises(ArgumentError, match="XFOO"):
        parse_mail_parameters(["XFOO=1", "xfoo=2"], offered=EVERYTHING, **settings_)


# Rules across parameters


def test_holdfor_and_holduntil_exclude_each_other() -> None:
    # RFC 4865 §4.2 (9) to (11).
    with pytest.raises(ArgumentError) as caught:
        parse_mail_parameters(["HOLDFOR=60", "HOLDUNTIL=2030-01-02T03:04:05Z"], offered=EVERYTHING)
    assert caught.value.status == "501 5.5.4 HOLDFOR and HOLDUNTIL exclude each other"


def test_utf8_in_orcpt_needs_smtputf8_offered() -> None:
    # RFC 6533 §3: "the utf-8-address form MUST NOT be used in the ORCPT parameter when the SMTP server doesn't
    # advertise support for SMTPUTF8".
    with pytest.raises(ArgumentError):
        parse_rcpt_parameters(["ORCPT=utf-8;é@a"], offered={"DSN"})
    parsed = parse_rcpt_parameters([r"ORCPT=utf-8;\x{E9}@a"], offered={"DSN"})
    assert parsed.orcpt is not None
    assert parsed.orcpt.address == "é@a"


def test_never_is_in_no_other_notify() -> None:
    parsed = parse_rcpt_parameters(["NOTIFY=SUCCESS,FAILURE,DELAY"], offered={"DSN"})
    assert parsed.notify is not None
    assert Notify.NEVER not in parsed.notify
    assert Notify.SUCCESS in parsed.notify


# Nothing given


def test_no_parameters_cost_no_object() -> None:
    assert parse_mail_parameters([], offered=EVERYTHING) is NO_MAIL_PARAMETERS
    assert parse_rcpt_parameters((), offered=EVERYTHING) is NO_RECIPIENT_PARAMETERS


@pytest.mark.parametrize("shared", [NO_MAIL_PARAMETERS, NO_RECIPIENT_PARAMETERS])
def test_the_shared_records_cannot_be_changed(shared: MailParameters | RecipientParameters) -> None:
    with pytest.raises(FrozenInstanceError):
        shared.unknown = ("X",)  # type: ignore[misc]


# Line lengths


@pytest.mark.parametrize(
    ("offered", "octets"),
    [
        (set(), 0),
        ({"PIPELINING", "STARTTLS"}, 0),
        ({"SIZE"}, 26),  # RFC 1870 §3
        ({"SMTPUTF8"}, 10),  # RFC 6531 §3.1
        ({"BINARYMIME"}, 16),  # RFC 3030 §3
        ({"8BITMIME", "BINARYMIME"}, 16),
        ({"REQUIRETLS"}, 11),  # RFC 8689 §2
        ({"AUTH"}, 500),  # RFC 4954 §3
        ({"DELIVERBY"}, 17),  # RFC 2852 §2
        ({"FUTURERELEASE"}, 34),  # RFC 4865 §3
        ({"MT-PRIORITY"}, 15),  # RFC 6710 §3
        ({"SIZE", "SMTPUTF8"}, 36),
    ],
)
def test_mail_is_lengthened_by_what_each_rfc_says(offered: set[str], octets: int) -> None:
    assert line_allowance(MAIL_PARAMETERS, offered) == octets


def test_rcpt_is_lengthened_by_what_the_rfcs_say() -> None:
    assert line_allowance(RCPT_PARAMETERS, {"RRVS"}) == 33  # RFC 7293 §3.1
    # RFC 3461 §5.4: "530 characters for the ORCPT and NOTIFY parameters of the RCPT command".
    assert line_allowance(RCPT_PARAMETERS, {"DSN"}) >= 530


@pytest.mark.parametrize(("keyword", "option", "value"), rows(GOOD))
def test_no_parameter_of_ours_is_longer_than_its_allowance(keyword: str, option: str, value: object) -> None:
    table = MAIL_PARAMETERS if keyword in MAIL_PARAMETERS else RCPT_PARAMETERS
    # RFC 4865 §3 leaves 34 octets for HOLDUNTIL, and so three for its fraction of a second.
    if keyword != "HOLDUNTIL" or len(option) < 34:
        assert len(f" {option}".encode()) <= line_allowance(table, {ALL_PARAMETERS[keyword].extension})


# Hostile input

words = st.sampled_from(
    [option for values in GOOD.values() for option, _ in values] + [o for b in BAD.values() for o in b]
)
keywords = st.sampled_from(sorted(ALL_PARAMETERS))
noise = st.text(max_size=20)
hostile = st.lists(st.one_of(words, noise, st.builds("{}={}".format, keywords, noise)), max_size=6)


@given(hostile)
@settings(max_examples=300)
def test_a_line_raises_nothing_but_protocol_errors(parts: list[str]) -> None:
    for parse in (parse_mail_parameters, parse_rcpt_parameters):
        with suppress(ProtocolError):
            parse(split_parameters(" ".join(parts)), offered=EVERYTHING)


@given(hostile)
@settings(max_examples=300)
def test_options_that_were_never_split_raise_nothing_but_protocol_errors(options: list[str]) -> None:
    for parse in (parse_mail_parameters, parse_rcpt_parameters):
        with suppress(ProtocolError):
            parse(options, offered=EVERYTHING)


@given(st.text(st.characters(max_codepoint=0xFF), min_size=1, max_size=30), st.sampled_from(["AUTH", "ENVID", "ORCPT"]))
@settings(max_examples=300)
def test_no_encoded_control_character_gets_through(text: str, keyword: str) -> None:
    encoded = encode_xtext(text)
    option = f"{keyword}=rfc822;{encoded}" if keyword == "ORCPT" else f"{keyword}={encoded}"
    has_control = any(unicodedata.category(character) == "Cc" and character != "\t" for character in text)
    refused_for_more = keyword != "AUTH" and not text.isascii()
    try:
        parser_of(keyword)(split_parameters(option), offered=EVERYTHING)
    except ArgumentError:
        assert has_control or refused_for_more or len(encoded) > ENVID_LIMIT
    else:
        assert not has_control
