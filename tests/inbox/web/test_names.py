from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.inbox.web.names import attachment, safe_name


@pytest.mark.parametrize(
    ("given_name", "name"),
    [
        ("report.pdf", "report.pdf"),
        ("Ünïcödé 文.txt", "Ünïcödé 文.txt"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Windows\\system32\\evil.dll", "evil.dll"),
        ("..", "x"),
        ("/", "x"),
        ("", "x"),
        (None, "x"),
        (".bashrc", "bashrc"),
        ("a\r\nSet-Cookie: b", "a__Set-Cookie_ b"),
        ('a"; filename=b', "a__ filename=b"),
        ("evil\u202egpj.exe", "evil_gpj.exe"),
        ("nul", "_nul"),
        ("COM1.txt", "_COM1.txt"),
        ("a\x00.txt", "a_.txt"),
        ("name. ", "name"),
        ("\ud800.txt", "_.txt"),
        ("%2e%2e%2f", "_2e_2e_2f"),
    ],
)
def test_a_name_keeps_what_is_harmless(given_name: str | None, name: str) -> None:
    assert safe_name(given_name, "x") == name


def test_a_long_name_keeps_its_ending() -> None:
    name = safe_name("a" * 500 + ".pdf", "x")
    assert name.endswith("aaa.pdf")
    assert len(name) <= 120
    assert len(safe_name("a" * 500, "x")) == 120
    assert len(safe_name("a." + "b" * 500, "x")) <= 120


@given(st.text())
def test_no_name_leaves_its_folder_or_its_field(text: str) -> None:
    name = safe_name(text, "x")
    assert name
    assert name not in {".", ".."}
    assert not set(name) & set('/\\\r\n\0":;<>|?*')
    assert attachment(name).isascii()
    assert attachment(name).isprintable()
    assert attachment(name).count('"') == 2


def test_a_name_beyond_ascii_is_told_in_both_ways() -> None:
    assert attachment("ä b.txt") == "attachment; filename=\"_ b.txt\"; filename*=UTF-8''%C3%A4%20b.txt"
    assert attachment("a b.txt") == 'attachment; filename="a b.txt"'
