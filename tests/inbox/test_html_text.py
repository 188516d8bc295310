from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.inbox.html_text import html_to_text


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("no tags", "no tags"),
        ("a &lt; b &amp;&#32;c", "a < b & c"),
        ("<h1>Title</h1><p>One\n two</p><p>Three", "Title\n\nOne two\n\nThree"),
        ("one<br>two<BR/>three", "one\ntwo\nthree"),
        ("<ul><li>one</li><li>two</li></ul>", "- one\n\n- two"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\n\nc"),
        ("<head><title>T</title><style>p {}</style></head>text", "text"),
        ("<SCRIPT>if (a < b) {}</SCRIPT>text", "text"),
        ("<script>never closed", ""),
        ("a<!-- <p>hidden</p> -->b", "ab"),
        ("<!DOCTYPE html><?xml?>a", "a"),
        ("a <b", "a"),
        ("1 < 2, 3 > 2", "1 < 2, 3 > 2"),
        ('<a href="https://example.com/?a=1&amp;b=2">here</a>.', "here <https://example.com/?a=1&b=2>."),
        ("<a href='https://example.com'>https://example.com</a>", "https://example.com"),
        ("<a href=https://example.com><img src=x alt=Logo></a>", "[Logo] <https://example.com>"),
        ('<a href="javascript:alert(1)">here</a>', "here"),
        ("<a name=x>anchor</a></a>", "anchor"),
        ("<img src=x>", ""),
        ("prehe\u200bader&zwnj;&nbsp;&zwnj;&nbsp; text", "preheader text"),
        ("İ<STYLE>hidden</STYLE>shown", "İshown"),
    ],
)
def test_html_becomes_text(source: str, text: str) -> None:
    assert html_to_text(source) == text


@given(st.text(alphabet="<>!-/ab'\"=& styleİ\n"))
def test_any_html_becomes_some_text(source: str) -> None:
    assert "<style" not in html_to_text(f"{source}><style>p</style>")
