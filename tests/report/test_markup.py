from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.report.markup import Link, Markup, Tag


@pytest.mark.parametrize(
    ("source", "tags"),
    [
        ('<IMG Src="a" ALT=b>', [Tag("img", {"src": "a", "alt": "b"})]),
        ('<img title="a > b" alt="c">', [Tag("img", {"title": "a > b", "alt": "c"})]),
        ("<img alt='a > b' src=x>", [Tag("img", {"alt": "a > b", "src": "x"})]),
        ('<img alt = "a">', [Tag("img", {"alt": "a"})]),
        ("<img alt=it's src=x>", [Tag("img", {"alt": "it's", "src": "x"})]),
        ('<td width="50%""><b>', [Tag("td", {"width": "50%"}), Tag("b", {})]),
        ("<br/><o:p></o:p>", [Tag("br", {}), Tag("o:p", {})]),
        ('<p title="&quot;a&amp;b"">', [Tag("p", {"title": '"a&b'})]),
        ("<p a=1 a=2 hidden>", [Tag("p", {"a": "1", "hidden": ""})]),
        ("<!-- <p> --><!DOCTYPE html><?xml <p?><b>", [Tag("b", {})]),
        ("<!--[if mso]><v:rect><![endif]--><!--[if !mso]><!--><b><!--<![endif]-->", [Tag("b", {})]),
        ("<!--><b>", [Tag("b", {})]),
        ("<script>if (a <b> c) '<i>'</script><u>", [Tag("script", {}), Tag("u", {})]),
        ("a < b > c <3", []),
        ('<p title="never closed>', [Tag("p", {"title": "never closed>"})]),
        ("<p", [Tag("p", {})]),
    ],
)
def test_tags_are_read_as_a_browser_reads_them(source: str, tags: list[Tag]) -> None:
    assert list(Markup(source).tags) == tags


@pytest.mark.parametrize(
    ("source", "links"),
    [
        ('<a href="x">a <b title=">">b</b>&amp;<!-- c --></a>', [Link("x", "a b &")]),
        ("<a href=x>1<a href=y>2", [Link("x", "1"), Link("y", "2")]),
        ("<a name=x>1</a><area href=y>", [Link("y", "")]),
        ("<a href=x></a>", [Link("x", "")]),
    ],
)
def test_links_have_their_text(source: str, links: list[Link]) -> None:
    assert list(Markup(source).links) == links


def test_declarations_are_found_in_attributes_and_sheets() -> None:
    markup = Markup(
        '<p style="Color: RED; display:none"><style>/* a: b */ @import url(x); a > b, c { d-e : f } '
        "@media (hover: hover) { .x:focus { color: blue } }</style>"
    )

    assert markup.values == {"color": "red\nblue", "display": "none", "d-e": "f"}
    assert markup.at_rules == {("import", "url(x)"), ("media", "(hover: hover)")}
    assert markup.selectors == "a > b, c\n.x:focus"


def test_what_is_written_is_without_sheets_and_scripts() -> None:
    assert Markup("a<style>{{b}}</style>c<script>${d}").written == "a<style></style>c<script>"


@given(st.text("<>!-/ab=\"' &{};:@", max_size=100))
def test_any_text_can_be_read(source: str) -> None:
    markup = Markup(source)

    assert markup.tag_names == {tag.name for tag in markup.tags}
    assert len(markup.links) <= len(markup.tags)
    assert (markup.all_values, markup.at_rules, markup.selectors, markup.written) is not None
