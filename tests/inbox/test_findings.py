from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.inbox import findings
from ehlo.inbox.findings import CODE_LIMIT, LINK_LIMIT, find_codes, find_links


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("Your verification code is 123456.", ["123456"]),
        ("123456 is your code", ["123456"]),
        ("Your code: 123 456", ["123456"]),
        ("Use the PIN 0042 to log in", ["0042"]),
        ("OTP 98765432", ["98765432"]),
        ("Your one-time password:\n\n    847291\n\nIt is valid for 10 minutes.", ["847291"]),
        ("Enter this code:\n\nAB12-CD34\n", ["AB12-CD34"]),
        ("G-123456 is your Google verification code.", ["G-123456"]),
        ("Confirmation code\nX7K9QZ", ["X7K9QZ"]),
        ("Ihr Bestätigungscode lautet 554433", ["554433"]),
        ("Votre code de vérification : 778899", ["778899"]),
        ("Tu código es 4411", ["4411"]),
        ("您的验证码是 620184，5分钟内有效", ["620184"]),
        ("認証コード：620184", ["620184"]),
        ("Код подтверждения: 5512", ["5512"]),
        ("The token is 1a2b3c", []),
        ("No word announces 123456 here", []),
        ("Call +1 555 1234567 about your code", []),
        ("The code has 3 digits: 123", []),
        ("The price is $1234, your code follows", []),
        ("the link https://example.com/code/123456 has the code", []),
        ("Your code is at 12:3456", []),
        ("", []),
    ],
)
def test_a_code_is_found_where_a_word_announces_it(text: str, codes: list[str]) -> None:
    assert list(find_codes("", text)) == codes


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("Order 20241231 of 2024. Your code is 845210. Copyright 2026", "845210"),
        ("© 2026 Example\n\nYour login code\n\n  731 402\n\nReference 55512", "731402"),
        ("Invoice 4711. To confirm, enter the verification code 902133 within 1500 seconds.", "902133"),
    ],
)
def test_the_likeliest_code_comes_first(text: str, first: str) -> None:
    assert find_codes("", text)[0] == first


def test_a_code_in_the_subject_is_found() -> None:
    assert find_codes("482913 is your code", "Hello") == ("482913",)


@given(st.from_regex(findings._WORD, fullmatch=True), st.sampled_from(["", " ", "x"]))
def test_no_word_that_announces_a_code_is_overlooked(word: str, before: str) -> None:
    assert findings._may_have_word(before + word)


def test_a_word_in_the_subject_announces_a_code_in_the_text() -> None:
    assert find_codes("Your code", "Hello Bob,\n\n482913\n") == ("482913",)
    assert find_codes("Invoice", "Hello Bob,\n\n482913\n") == ()


@given(st.text(), st.text(alphabet="code PIN 1234567890 AB-\n.", max_size=300))
def test_codes_are_few_and_made_of_digits_and_capitals(subject: str, text: str) -> None:
    codes = find_codes(subject, text)
    assert len(codes) <= CODE_LIMIT
    assert len(set(codes)) == len(codes)
    assert all(code.replace("-", "").isalnum() and code.upper() == code for code in codes)


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("see https://example.com/a?b=1&c=2#d.", ["https://example.com/a?b=1&c=2#d"]),
        ("(https://example.com/a)", ["https://example.com/a"]),
        ("(see https://en.wikipedia.org/wiki/A_(b))", ["https://en.wikipedia.org/wiki/A_(b)"]),
        ("<https://example.com/x>,", ["https://example.com/x"]),
        ("HTTP://EXAMPLE.COM twice HTTP://EXAMPLE.COM", ["HTTP://EXAMPLE.COM"]),
        ("http:// nothing, ftp://x", []),
        ("https://...", []),
        ("https://example.com/ünï", ["https://example.com/ünï"]),
    ],
)
def test_links_of_a_text_end_before_the_punctuation(text: str, urls: list[str]) -> None:
    found = [link.url for link in find_links(text, "")]
    assert found == urls


@pytest.mark.parametrize(
    ("html", "links"),
    [
        (
            '<a href="https://example.com/?a=1&amp;b=2">Click <b>here</b></a>',
            [("https://example.com/?a=1&b=2", "Click here")],
        ),
        ("<a href=https://example.com><img src=x alt='The logo'></a>", [("https://example.com", "The logo")]),
        (
            "<a href='https://a.example'>one<a href='https://b.example'>two",
            [("https://a.example", "one"), ("https://b.example", "two")],
        ),
        ("<a href=' https://exa\nmple.com '>x</a>", [("https://example.com", "x")]),
        ("<map><area href='https://example.com' alt='spot'></map>", [("https://example.com", "spot")]),
        ("<a href='myapp://reset/1'>open</a>", [("myapp://reset/1", "open")]),
        ("<a href='mailto:a@b'>mail</a><a href='tel:+1'>call</a>", [("mailto:a@b", "mail"), ("tel:+1", "call")]),
        ("<a href='https://a.example'>1</a><a href='https://a.example'>2</a>", [("https://a.example", "1")]),
        (
            "<a href='javascript:alert(1)'>x</a><a href='JaVaScRiPt://%0aalert(1)'>x</a><a href='data:,x'>x</a>",
            [],
        ),
        (
            "<a href='file:///etc'>x</a><a href='cid:x'>x</a><a href='#top'>x</a><a href='/a'>x</a><a name=x>x</a>",
            [],
        ),
        ("<!-- <a href='https://example.com'>no</a> --><script><a href='https://example.com'></script>", []),
    ],
)
def test_links_of_html_have_the_text_that_is_shown(html: str, links: list[tuple[str, str]]) -> None:
    assert [(link.url, link.text) for link in find_links("", html)] == links
    assert all(link.origin == "html" for link in find_links("", html))


def test_a_link_that_text_and_html_have_is_given_once() -> None:
    found = find_links("https://a.example https://b.example", "<a href='https://b.example'>b</a>")
    assert [(link.url, link.origin) for link in found] == [("https://b.example", "html"), ("https://a.example", "text")]


def test_links_are_not_endless() -> None:
    assert len(find_links(" ".join(f"https://example.com/{n}" for n in range(2000)), "")) == LINK_LIMIT
    assert len(find_links("", "".join(f"<a href=https://example.com/{n}>" for n in range(2000)))) == LINK_LIMIT


@given(
    st.text(max_size=200),
    st.lists(st.sampled_from(["<a href=", "https://x", "'", '"', ">", "</a>", "<img alt=x", "é", "&amp;"])),
)
def test_any_text_has_links_that_lead_somewhere(text: str, pieces: list[str]) -> None:
    for link in find_links(text, "".join(pieces)):
        assert ":" in link.url
        assert not link.url.lower().startswith(("javascript", "data", "file"))
