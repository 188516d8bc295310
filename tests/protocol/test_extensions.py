"""Each row of the table of extensions: when it is offered, and what is said."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.protocol.extensions import EXTENSIONS, Capabilities, check_declaration, offer
from ehlo.protocol.grammar import EHLO_KEYWORD
from ehlo.protocol.parameters import MAIL_PARAMETERS, RCPT_PARAMETERS

ALWAYS = {"PIPELINING": "", "8BITMIME": "", "SMTPUTF8": "", "CHUNKING": "", "ENHANCEDSTATUSCODES": "", "HELP": ""}
NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("have", "more"),
    [
        ({}, {}),
        ({"size_limit": 100}, {"SIZE": "100"}),
        ({"can_start_tls": True}, {"STARTTLS": ""}),
        ({"can_start_tls": True, "is_tls": True}, {}),
        ({"mechanisms": ("PLAIN", "LOGIN")}, {"AUTH": "PLAIN LOGIN"}),
        ({"limits": {"RCPTMAX": 1000, "MAILMAX": 5}}, {"LIMITS": "RCPTMAX=1000 MAILMAX=5"}),
        ({"has_etrn": True}, {"ETRN": ""}),
        ({"xclient": ("NAME", "ADDR")}, {"XCLIENT": "NAME ADDR"}),
        ({"xforward": ("NAME", "ADDR")}, {"XFORWARD": "NAME ADDR"}),
        ({"honoured": {"DSN": None}}, {"DSN": ""}),
        ({"honoured": {"BINARYMIME": None}}, {"BINARYMIME": ""}),
        ({"honoured": {"RRVS": None}}, {"RRVS": ""}),
        ({"honoured": {"DELIVERBY": None}}, {"DELIVERBY": ""}),
        ({"honoured": {"DELIVERBY": 120}}, {"DELIVERBY": "120"}),
        ({"honoured": {"MT-PRIORITY": None}}, {"MT-PRIORITY": ""}),
        ({"honoured": {"MT-PRIORITY": "MIXER"}}, {"MT-PRIORITY": "MIXER"}),
        ({"honoured": {"REQUIRETLS": None}}, {}),
        ({"honoured": {"REQUIRETLS": None}, "is_tls": True}, {"REQUIRETLS": ""}),
        ({"honoured": {"FUTURERELEASE": 3600}}, {}),
        ({"honoured": {"FUTURERELEASE": 3600}, "now": NOON}, {"FUTURERELEASE": "3600 2026-01-31T13:00:00Z"}),
        (
            {"honoured": {"FUTURERELEASE": 86400}, "now": NOON.astimezone(timezone(timedelta(hours=2)))},
            {"FUTURERELEASE": "86400 2026-02-01T12:00:00Z"},
        ),
    ],
)
def test_what_is_offered_is_what_can_be_honoured(have: dict[str, Any], more: dict[str, str]) -> None:
    assert offer(Capabilities(**have)) == {**ALWAYS, **more}


def test_smtputf8_may_be_off() -> None:
    assert offer(Capabilities(does_utf8=False)) == {keyword: "" for keyword in ALWAYS if keyword != "SMTPUTF8"}


def test_the_order_is_that_of_the_table() -> None:
    offered = [*offer(Capabilities(size_limit=1, can_start_tls=True, mechanisms=("PLAIN",), has_etrn=True))]
    assert offered == [row.keyword for row in EXTENSIONS if row.keyword in offered]


def test_no_keyword_is_there_twice_and_each_has_its_source() -> None:
    keywords = [row.keyword for row in EXTENSIONS]
    assert len(set(keywords)) == len(keywords)
    assert all(EHLO_KEYWORD.fullmatch(keyword) and keyword == keyword.upper() for keyword in keywords)
    assert all(re.match(r"RFC [0-9]+|Postfix ", row.source) for row in EXTENSIONS)


def test_every_parameter_is_brought_by_a_row() -> None:
    keywords = {row.keyword for row in EXTENSIONS}
    for table in (MAIL_PARAMETERS, RCPT_PARAMETERS):
        for parameter in table.values():
            assert {parameter.extension, *parameter.value_extensions.values()} <= keywords


capabilities = st.builds(
    Capabilities,
    size_limit=st.none() | st.integers(1, 10**12),
    does_utf8=st.booleans(),
    is_tls=st.booleans(),
    can_start_tls=st.booleans(),
    mechanisms=st.lists(st.sampled_from(["PLAIN", "LOGIN"]), unique=True).map(tuple),
    has_etrn=st.booleans(),
)


# RFC 5321 §4.1.1.1: ehlo-line = ehlo-keyword *( SP ehlo-param ) ; ehlo-param = 1*(%d33-126)
@given(capabilities)
def test_every_line_is_one_of_rfc_5321(have: Capabilities) -> None:
    for keyword, words in offer(have).items():
        assert re.fullmatch(r"[A-Z0-9][A-Z0-9-]*( [!-~]+)*", f"{keyword} {words}".rstrip())


@pytest.mark.parametrize(
    ("declared", "honoured"),
    [
        ((), {}),
        ({"DSN"}, {"DSN": None}),
        (["dsn", "RequireTLS"], {"DSN": None, "REQUIRETLS": None}),
        ({"DELIVERBY": 5, "MT-PRIORITY": "MIXER"}, {"DELIVERBY": 5, "MT-PRIORITY": "MIXER"}),
        ({"futurerelease": 604_800}, {"FUTURERELEASE": 604_800}),
    ],
)
def test_a_declaration_is_a_collection_or_a_mapping(declared: Any, honoured: dict[str, object]) -> None:
    assert check_declaration(declared) == honoured


@pytest.mark.parametrize(
    ("declared", "error"),
    [
        ("DSN", TypeError),
        (["SIZE"], ValueError),
        (["XYZZY"], ValueError),
        (["FUTURERELEASE"], TypeError),
        ({"DSN": 5}, TypeError),
        ({"DELIVERBY": "soon"}, TypeError),
        ({"MT-PRIORITY": 5}, TypeError),
    ],
)
def test_what_nobody_can_honour_is_refused(declared: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        check_declaration(declared)
