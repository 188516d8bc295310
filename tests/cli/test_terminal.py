from __future__ import annotations

import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo import Envelope, Session, TLSInfo
from ehlo.cli.summary import Attachment, Person, Summary
from ehlo.cli.terminal import LIST_LIMIT, TEXT_ROWS, VALUE_ROWS, Style, brief, full, place, size_text, style_of
from ehlo.protocol.sasl import Identity

PLAIN = Style(80, has_colour=False, has_lines=True)
COLOURED = Style(80, has_colour=True, has_lines=True)


def session(**facts: object) -> Session:
    made = Session(("192.0.2.1", 50001))
    made.host_name = "client.example"
    made.extended_smtp = True
    for name, value in facts.items():
        setattr(made, name, value)
    return made


def envelope(mail_from: str = "from@example.com", *rcpt_tos: str) -> Envelope:
    made = Envelope()
    made.mail_from = mail_from
    made.rcpt_tos = list(rcpt_tos or ("to@example.com",))
    return made


def show(
    summary: Summary, its_session: Session | None = None, its_envelope: Envelope | None = None, style: Style = PLAIN
) -> str:
    return full(style, "1 at 12:00:00", its_session or session(), its_envelope or envelope(), summary)


def row(shown: str, label: str) -> str:
    (found,) = [line for line in shown.split("\n") if line.startswith(label.ljust(13))]
    return found[13:]


# A whole message


def test_a_message_at_80_columns() -> None:
    summary = Summary(
        size=2100,
        maybe_subject="Your order has been shipped ✓",
        senders=[Person("Shop", "shop@example.com")],
        recipients=[Person("Ann Müller", "ann@example.org")],
        text="Dear Ann,\r\n\r\nit is on its way.\r\n",
        attachments=[Attachment("invoice.pdf", "application/pdf", 1300), Attachment("", "image/png", 12)],
        problems=["2 bare LF: other servers may refuse this mail"],
    )
    shown = show(summary, None, envelope("bounces@example.com", "ann@example.org", "boss@example.com"))
    assert shown == (
        """\
── 1 at 12:00:00 ────────────────────────────────────────────────────── 2.1 kB ─
Your order has been shipped ✓
From         bounces@example.com
To           Ann Müller <ann@example.org>, boss@example.com
header From  Shop <shop@example.com>
header To    Ann Müller <ann@example.org>
Client       192.0.2.1:50001 EHLO client.example, no TLS, no login
Attached     invoice.pdf (application/pdf, 1.3 kB)
             no name (image/png, 12 B)
Problem      2 bare LF: other servers may refuse this mail

  Dear Ann,

  it is on its way.

"""
    )


def test_a_message_of_nothing() -> None:
    assert show(Summary(size=0)).split("\n")[1:] == [
        "(no subject)",
        "From         from@example.com",
        "To           to@example.com",
        "Client       192.0.2.1:50001 EHLO client.example, no TLS, no login",
        "",
        "",
    ]


def test_without_the_characters_for_lines_it_is_all_ascii() -> None:
    shown = show(Summary(1, text="line\n" * 100), style=Style(60, has_colour=False, has_lines=False))
    assert shown.isascii()
    assert len(shown.partition("\n")[0]) == 60


def test_colours_change_nothing_else() -> None:
    summary = Summary(1, maybe_subject="Hello", text="text\n" * 100, problems=["one"])
    coloured = show(summary, style=COLOURED)
    for code in ("36", "1", "2", "1;33", "0"):
        assert f"\x1b[{code}m" in coloured
        coloured = coloured.replace(f"\x1b[{code}m", "")
    assert coloured == show(summary)


# People


def test_the_header_s_people_are_not_repeated_where_they_are_the_envelope_s() -> None:
    summary = Summary(1, senders=[Person("F", "FROM@example.com")], recipients=[Person("T", "to@EXAMPLE.com")])
    shown = show(summary)
    assert row(shown, "From") == "F <FROM@example.com>"
    assert "header" not in shown


def test_a_null_reverse_path_is_called_so() -> None:
    assert row(show(Summary(1), None, envelope("")), "From").startswith("<> (the null reverse-path")


def test_many_recipients_are_counted() -> None:
    shown = show(Summary(1), None, envelope("a@b.example", *[f"user{number}@example.org" for number in range(1000)]))
    assert f"and {1000 - LIST_LIMIT} more" in shown
    assert f"user{LIST_LIMIT}@" not in shown


# The client


def test_tls_and_login_are_told_and_no_password_is() -> None:
    identity = Identity("ann", "boss", "PLAIN")
    facts = session(
        ssl=TLSInfo("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256), authenticated=True, login="boss", auth_data=identity
    )
    assert row(show(Summary(1), facts), "Client") == "192.0.2.1:50001 EHLO client.example, TLSv1.3"
    assert "TLS_AES_256_GCM_SHA384, login boss by PLAIN" in show(Summary(1), facts)


def test_a_login_that_another_way_gave_is_told_without_a_mechanism() -> None:
    facts = session(authenticated=True, login="ann", auth_data=object(), extended_smtp=False)
    assert row(show(Summary(1), facts), "Client") == "192.0.2.1:50001 HELO client.example, no TLS, login ann"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (("192.0.2.1", 25), "192.0.2.1:25"),
        (("::1", 25, 0, 0), "[::1]:25"),
        ("", "UNIX socket"),
        ("/run/x.sock", "UNIX socket"),
        (None, "UNIX socket"),
    ],
)
def test_a_place_is_written_as_people_write_it(address: object, shown: str) -> None:
    assert place(address) == shown


# Text


def test_the_first_rows_of_a_text_are_shown_and_the_rest_is_counted() -> None:
    shown = show(Summary(1, text="".join(f"line {number}\n" for number in range(100)))).split("\n")
    assert f"  line {TEXT_ROWS - 1}" in shown
    assert f"  line {TEXT_ROWS}" not in shown
    assert f"  … {100 - TEXT_ROWS} more lines" in shown


def test_one_line_more_is_one_line() -> None:
    assert "… 1 more line\n" in show(Summary(1, text="line\n" * (TEXT_ROWS + 1)))


def test_a_text_that_was_not_decoded_to_its_end_has_more_than_is_counted() -> None:
    assert "… more than 5 more lines" in show(Summary(1, text="line\n" * (TEXT_ROWS + 5), text_is_cut=True))


def test_long_lines_are_broken_at_spaces() -> None:
    shown = show(Summary(1, text="word " * 40))
    rows = [line for line in shown.split("\n") if "word" in line]
    assert len(rows) == 3
    assert all(len(line) <= 80 for line in rows)
    assert all(line == line.rstrip() for line in rows)


def test_a_link_is_never_broken() -> None:
    link = "https://example.com/?token=" + "a" * 200
    assert f"  {link}\n" in show(Summary(1, text=f"Click {link} now"))


def test_a_word_without_end_is_cut() -> None:
    assert len(show(Summary(1, text="a" * 60_000))) < 3000


def test_rows_that_the_terminal_breaks_count_as_those_they_become() -> None:
    shown = show(Summary(1, text=("a" * 780 + "\n") * 10))
    assert shown.count("a" * 780) == 2
    assert "… 8 more lines" in shown


def test_wide_characters_take_two_columns() -> None:
    shown = show(Summary(1, text="件名 " * 40))
    assert "  " + " ".join(["件名"] * 15) + "\n" in shown


def test_indentation_and_tabs_are_kept() -> None:
    assert "\n      four\n      tab\n" in show(Summary(1, text="    four\n\ttab"))


def test_an_indented_word_that_is_too_long_stays_in_its_row() -> None:
    assert f"\n\n      {'a' * 90}\n" in show(Summary(1, text="    " + "a" * 90))


def test_combining_characters_take_no_column() -> None:
    assert "  " + "e\u0301 " * 38 + "e\u0301\n" in show(Summary(1, text="e\u0301 " * 50))


@pytest.mark.parametrize("newline", ["\n", "\r", "\r\n"])
def test_any_newline_ends_a_line(newline: str) -> None:
    assert "\n\n  one\n  two\n\n" in show(Summary(1, text=f"{newline}one{newline}two{newline}"))


def test_a_subject_of_several_lines_is_folded_and_cut() -> None:
    shown = show(Summary(1, maybe_subject="several\n  words " * 100)).split("\n")
    assert shown[1].startswith("several words several")
    assert [shown[4], shown[5][:4]] == ["…", "From"]


def test_a_value_without_end_is_cut() -> None:
    shown = show(Summary(1, attachments=[Attachment("name " * 1000, "image/png", 1)]))
    assert shown.count("name ") < 20 * VALUE_ROWS
    assert "             …\n" in shown


# What peers sent

_HOSTILE = "\x1b]0;title\x07\x9b2J\r\u202e\u2028\udc80"


def test_nothing_that_a_peer_sent_reaches_the_terminal_raw() -> None:
    hostile = _HOSTILE
    facts = session(host_name=hostile, authenticated=True, login=hostile, ssl=TLSInfo(hostile, hostile, 0))
    summary = Summary(
        1,
        maybe_subject=hostile,
        senders=[Person(hostile, hostile)],
        recipients=[Person(hostile, hostile)],
        text=hostile,
        attachments=[Attachment(hostile, hostile, 0)],
        problems=[hostile],
    )
    shown = show(summary, facts, envelope(hostile, hostile)) + brief(PLAIN, "", envelope(hostile, hostile), summary)
    assert "title" in shown
    assert shown.replace("\n", "").isprintable()


@given(st.text(), st.text())
def test_no_subject_and_no_text_can_write_raw(subject: str, text: str) -> None:
    shown = show(Summary(1, maybe_subject=subject, text=text))
    assert "".join(shown.split("\n")).replace("\u200c", "").replace("\u200d", "").isprintable()


# One line


def test_a_message_on_one_line() -> None:
    summary = Summary(68_300, maybe_subject="Hello")
    assert brief(PLAIN, "12:00:00", envelope("a@b.example", "c@d.example"), summary) == (
        "12:00:00  68.3 kB a@b.example > c@d.example  Hello\n"
    )
    assert brief(PLAIN, "12:00:00", envelope("", "c@d.example", "e@f.example"), Summary(5)) == (
        "12:00:00      5 B <> > c@d.example (+1)  \n"
    )


def test_one_line_is_cut_at_the_width_of_the_terminal() -> None:
    line = brief(PLAIN, "12:00:00", envelope(), Summary(5, maybe_subject="件" * 80))
    assert line.endswith("件…\n")
    assert len(line.partition("件")[0]) + 2 * line.count("件") + 1 in {79, 80}


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (33_554_432, "33.6 MB"),
        (5_000_000_000, "5.0 GB"),
    ],
)
def test_sizes_as_people_say_them(octets: int, text: str) -> None:
    assert size_text(octets) == text


# The style


class Terminal(io.StringIO):
    def __init__(self, encoding: str = "utf-8", *, is_terminal: bool = True) -> None:
        super().__init__()
        self._encoding = encoding
        self._is_terminal = is_terminal

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return self._is_terminal


@pytest.fixture(autouse=True)
def _usual_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.mark.skipif(os.name == "nt", reason="whether a terminal on Windows shows colours is another question")
@pytest.mark.parametrize(
    ("colour", "is_terminal", "environment", "has_colour"),
    [
        ("auto", True, {}, True),
        ("auto", False, {}, False),
        ("auto", True, {"NO_COLOR": "1"}, False),
        ("auto", True, {"NO_COLOR": ""}, True),
        ("auto", True, {"TERM": "dumb"}, False),
        ("always", False, {"NO_COLOR": "1", "TERM": "dumb"}, True),
        ("never", True, {}, False),
    ],
)
def test_colour_is_for_terminals_and_for_those_who_ask(
    monkeypatch: pytest.MonkeyPatch, colour: str, is_terminal: bool, environment: dict[str, str], has_colour: bool
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert style_of(Terminal(is_terminal=is_terminal), colour).has_colour is has_colour


@pytest.mark.parametrize(("encoding", "has_lines"), [("utf-8", True), ("ascii", False), ("nonsense", False)])
def test_lines_are_drawn_where_the_encoding_has_them(encoding: str, has_lines: bool) -> None:
    assert style_of(Terminal(encoding), "auto").has_lines is has_lines


@pytest.mark.parametrize(("columns", "width"), [("100", 100), ("10", 40), ("500", 120)])
def test_the_width_is_the_terminal_s_within_reason(monkeypatch: pytest.MonkeyPatch, columns: str, width: int) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert style_of(Terminal(), "auto").width == width
