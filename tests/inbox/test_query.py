from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.inbox.parse import parse
from ehlo.inbox.query import ALL, LENGTH_LIMIT, TERM_LIMIT, QuerySyntaxError, Term, parse_query
from ehlo.inbox.rows import parsed_row
from ehlo.inbox.store import Store
from tests.inbox.support import PATIENCE, Clock, mail, put

if TYPE_CHECKING:
    from collections.abc import Iterator

NOON = 1_800_014_400.0  # 2027-01-15T12:00:00Z

MESSAGES = {
    1: mail("Invoice 2026-17", "Pay 50% of the café's bill", sender="Ann <ann@example.com>"),
    2: mail("Re: invoice", "the quick brown fox", sender="bob@example.org", to="Team <team@example.net>"),
    3: b"From: =?utf-8?q?=C3=84nne?= <x@example.com>\r\nCc: cc@example.com\r\nContent-Type: text/html\r\n"
    b"Subject: Stra=C3=9Fe\r\nMessage-ID: <Abc_1@host>\r\n\r\n<p>quick <b>html</b> fox</p>",
    4: b"From: a@example.com\r\nSubject: =?utf-8?b?5pel5pys6Kqe44Gu5Lu25ZCN?=\r\nContent-Type: multipart/mixed; "
    b"boundary=b\r\n\r\n--b\r\n\r\nbrown quick\r\n"
    b"--b\r\nContent-Type: application/pdf; name=report.pdf\r\n\r\n%PDF\r\n--b--",
    5: b"Subject: large\r\n\r\n" + b"x" * 20_000,
}


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    clock = Clock()
    with Store(clock=clock) as store:
        for number, raw in MESSAGES.items():
            clock.now = NOON - 3600 * (6 - number)
            recipients = ("hidden@example.com",) if number == 5 else ("bob@example.org",)
            put(store, raw, rcpt_tos=recipients, mail_from=f"bounce+{number}@example.com")
        store.add_parsed([(id_, parsed_row(parse(raw))) for id_, raw in MESSAGES.items()]).result(PATIENCE)
        store.mark([2, 3], is_read=True).result(PATIENCE)
        store.tag([1, 2], add=["Paid", "100%"]).result(PATIENCE)
        store.tag([3], add=["paid-late"]).result(PATIENCE)
        yield store


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {1, 2, 3, 4, 5}),
        ("   ", {1, 2, 3, 4, 5}),
        # Words
        ("invoice", {1, 2}),
        ("INVOICE", {1, 2}),
        ("inv", {1, 2}),
        ("inv*", {1, 2}),
        ("voice", set()),
        ("quick fox", {2, 3}),
        ("quick brown", {2, 4}),
        ('"quick brown"', {2}),
        ('"quick html"', {3}),
        ("-quick", {1, 5}),
        ("quick -html", {2, 4}),
        ('fox -"brown fox"', {3}),
        ("cafe", {1}),
        ("café", {1}),
        ("ann@example.com", {1}),
        ("report.pdf", {4}),
        ("日本", {4}),
        ("件名", {4}),
        ("本日", set()),
        ("2026-17", {1}),
        ("AND", set()),
        ("NOT OR", set()),
        ("NEAR(quick fox)", set()),
        ("subject", set()),
        ("%", {1}),
        ("*", set()),
        # Fields
        ("from:ann", {1}),
        ("from:EXAMPLE.com", {1, 3, 4, 2, 5}),
        ("from:bounce+2", {2}),
        ("from:Änne", {3}),
        ("from:änne", {3}),
        ('from:"Ann <ann"', {1}),
        ("to:team", {2}),
        ("to:hidden", {5}),
        ("cc:cc@", {3}),
        ("subject:invoice", {1, 2}),
        ("subject:oice", {1, 2}),
        ("-subject:invoice", {3, 4, 5}),
        ("subject:日本語", {4}),
        ("subject:%", set()),
        ("subject:_", set()),
        ("subject:\\", set()),
        ("SUBJECT:invoice", {1, 2}),
        ("message-id:<abc_1@host>", {3}),
        ("message-id:abc_1", {3}),
        ("tag:paid", {1, 2}),
        ("tag:100%", {1, 2}),
        ("tag:pai", set()),
        ("-tag:paid", {3, 4, 5}),
        # Properties
        ("has:attachment", {4}),
        ("has:html", {3}),
        ("-has:html", {1, 2, 4, 5}),
        ("is:read", {2, 3}),
        ("is:unread", {1, 4, 5}),
        ("larger:10k", {5}),
        ("larger:19.9k", None),
        ("smaller:10kb", {1, 2, 3, 4}),
        ("larger:99999999999G", set()),
        ("smaller:1 larger:1", set()),
        ("after:90m", {5}),
        ("before:4h", {1}),
        ("after:2027-01-15T10:00", {4, 5}),
        ("after:2027-01-15T10:00Z", {4, 5}),
        ("after:2027-01-15T11:00+01:00", {4, 5}),
        ("before:2027-01-15", set()),
        ("after:2027-01-15", {1, 2, 3, 4, 5}),
        ("before:2027-01-16 after:2027-01-15T09:00 from:a@", {4}),
        # Text that looks like a field
        ("https://example.com/", set()),
        ("12:30", set()),
        ("a,b:c", set()),
    ],
)
def test_a_query_finds(store: Store, text: str, found: set[int] | None) -> None:
    if found is None:
        with pytest.raises(QuerySyntaxError):
            parse_query(text)
        return
    assert set(store.find(parse_query(text, NOON))) == found


def test_what_is_not_yet_looked_into_is_found_by_what_is_known() -> None:
    with Store() as store:
        put(store, mail("Invoice 17", "words of the body"))
        for text, total in [("invoice", 1), ("17 invoice", 1), ("ann", 1), ("words", 0), ("-invoice", 0)]:
            assert store.list(parse_query(text)).total == total, text


@pytest.mark.parametrize(
    ("text", "position", "says"),
    [
        ("frm:ann", 0, 'there is no "frm:"'),
        ("a frm:ann", 2, 'there is no "frm:"'),
        ("a -frm:ann", 3, 'there is no "frm:"'),
        ("from:", 0, "needs a value"),
        ("from: ann", 0, "needs a value"),
        ('from:""', 0, "needs a value"),
        ('a "b c', 2, "quotation mark is missing"),
        ('from:"', 5, "quotation mark is missing"),
        ('""', 1, "nothing between"),
        ("-", 0, '"-" needs'),
        ("a - b", 2, '"-" needs'),
        ("is:odd", 3, '"is:" may be followed by read or unread'),
        ("has:x", 4, '"has:" may be followed by attachment or html'),
        ("a larger:much", 9, '"larger:" needs a size'),
        ("larger:-1", 7, "needs a size"),
        ("larger:\u0661", 7, "needs a size"),
        ("before:yesterday", 7, '"before:" needs a date'),
        ("after:2026-13-01", 6, "needs a date"),
        ("after:0001-01-01T00:00+23:59", 6, None),
        ("x" * (LENGTH_LIMIT + 1), LENGTH_LIMIT, "longer than"),
        ("x " * (TERM_LIMIT + 1), 2 * TERM_LIMIT, "more than"),
    ],
)
def test_what_is_wrong_with_a_query_is_said_with_its_position(text: str, position: int, says: str | None) -> None:
    if says is None:
        parse_query(text)
        return
    with pytest.raises(QuerySyntaxError, match=re.escape(says)) as caught:
        parse_query(text)
    assert caught.value.position == position


def test_terms_are_read_as_they_were_typed() -> None:
    query = parse_query('-from:"A b"  c* -d "e f"', NOON)
    assert query.terms == (
        Term("from", "A b", is_phrase=True, is_negated=True),
        Term("", "c*"),
        Term("", "d", is_negated=True),
        Term("", "e f", is_phrase=True),
    )
    assert parse_query("") == ALL


_KEYS = ["from:", "to:", "cc:", "subject:", "message-id:", "tag:", "has:", "is:", "before:", "after:", "larger:", ""]
_ODD = st.text(alphabet=st.sampled_from("ab1é日%_*\\'\";:()-^{}+<>\0\t\udcff\U0001f600 ,.~|&?@[]"), max_size=12)
_TERMS = st.tuples(
    st.sampled_from(["", "-"]), st.sampled_from(_KEYS), st.one_of(_ODD, st.text(max_size=8)), st.booleans()
)


@given(st.lists(_TERMS, max_size=6))
def test_whatever_is_typed_finds_something_or_is_refused(store: Store, terms: list[tuple[str, str, str, bool]]) -> None:
    text = " ".join(f'{minus}{key}"{value}"' if quoted else minus + key + value for minus, key, value, quoted in terms)
    try:
        query = parse_query(text, NOON)
    except QuerySyntaxError as error:
        assert 0 <= error.position <= len(text)  # noqa: PT017 - or it is no error at all
        return
    page = store.list(query, limit=10)
    assert {it.id for it in page.messages} == set(store.find(query))
    assert page.total == len(page.messages)


@given(_ODD, st.sampled_from(["from:", "to:", "cc:", "subject:", "message-id:", "tag:", ""]))
def test_what_is_typed_never_becomes_part_of_the_sql(value: str, key: str) -> None:
    value = value.replace('"', "'")  # a quotation mark ends the value, and another begins
    try:
        found = parse_query(f'{key}"{value}"', NOON).condition
    except QuerySyntaxError:
        return
    # The same question with a plain value has the same SQL, but for the ways to compare what is not ASCII.
    plain = [parse_query(f'{key}"{word}"', NOON).condition.sql for word in ("abc", "é", "%", "☃")]
    assert found.sql in plain
    assert found.sql.count("?") == len(found.parameters)


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=30))
def test_a_subject_is_found_by_itself(value: str) -> None:
    value = " ".join(value.replace('"', " ").split())
    if not value.isprintable() or not value:
        return
    with Store() as store:
        put(store, f"Subject: {value}\r\n\r\n".encode())
        assert store.find(parse_query(f'subject:"{value}"')) == (1,)
        assert store.find(parse_query(f'-subject:"{value}"')) == ()
