"""The files of the page, as files: that they name each other rightly, and stay within what the page may do."""

from __future__ import annotations

import re
from importlib import resources

import pytest

FOLDER = resources.files("ehlo.inbox.web") / "static"
FILES = {file.name: file.read_text(encoding="utf-8") for file in FOLDER.iterdir()}
SCRIPTS = sorted(name for name in FILES if name.endswith(".js"))
INDEX = FILES["index.html"]


def test_the_document_names_files_that_are_there() -> None:
    named = re.findall(r'(?:src|href)="static/([^"]+)"', INDEX)
    assert named
    assert set(named) <= set(FILES)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_module_imports_what_another_exports(name: str) -> None:
    for names, source in re.findall(r'import (?:\{([^}]*)\}|\* as \w+) from "\./([^"]+)"', FILES[name]):
        for wanted in filter(None, (part.strip() for part in names.split(","))):
            assert re.search(rf"export (?:async )?(?:function|const|class) {re.escape(wanted)}(?!\w)", FILES[source]), (
                wanted
            )


def test_every_module_is_used() -> None:
    imported = set(re.findall(r'from "\./([^"]+)"', "\n".join(FILES.values())))
    assert set(SCRIPTS) == imported | {"main.js", "theme.js"}


def test_the_document_has_no_script_and_no_style_of_its_own() -> None:
    # The policy of the page would not let them run.
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon[a-z]+=|javascript:", INDEX)


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_a_mail_says_never_becomes_markup_or_code(name: str) -> None:
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\(|new Function", _code(name)
    )


def test_nothing_is_fetched_from_elsewhere() -> None:
    for name, text in FILES.items():
        if name == "setup.js":  # examples of how to send mail
            continue
        urls = re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", text)
        assert set(urls) <= {"http://www.w3.org"}, name


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_icon_that_is_asked_for_is_drawn(name: str) -> None:
    drawn = set(re.findall(r"^  (\w+): \[", FILES["icons.js"], re.MULTILINE))
    asked = re.findall(r'\b(?:icon|iconButton|nothing)\("(\w+)"', FILES[name]) + re.findall(
        r'\b(?:icon|drawing): "(\w+)"', FILES[name]
    )
    assert set(asked) <= drawn
    assert set(re.findall(r'data-icon="(\w+)"', INDEX)) <= drawn


def _code(name: str) -> str:
    """A script without its comments."""
    return re.sub(r"/\*.*?\*/|^\s*//.*$", "", FILES[name], flags=re.DOTALL | re.MULTILINE)
