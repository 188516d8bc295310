"""The documentation says nothing that the code does not do: its names, numbers and links, and its programs.

A program is a block of Python behind ``<!-- program -->``; the next block of text on the page is what it prints.  A
table is checked in the section that bears its name.  A block behind ``<!-- file NAME -->`` is a file that stands beside
the programs after it.
"""

from __future__ import annotations

import ast
import functools
import importlib
import pkgutil
import re
import socket
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import trustme

import ehlo
from ehlo.dispatch import StandingRefusal
from ehlo.errors import GateClosed, TLSFailed
from ehlo.net.limits import ConnectionRefused, LimitReached
from ehlo.net.networks import Networks
from ehlo.protocol.extensions import EXTENSIONS
from ehlo.protocol.proxy import ProxyError

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).parents[1]
DOCS = PROJECT / "docs"
PAGES = [*sorted(PROJECT.glob("*.md")), *sorted(DOCS.glob("*.md"))]

_HEADING = re.compile(r"^(#+) +(.+)$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(
    r"(?P<mark><!-- (?:program|file (?P<file>\S+)) -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_TEST = re.compile(r"(tests/[\w/]+\.(?:py|txt))(?:::(\w+))?")
_CODE = re.compile(r"`([^`]+)`")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def section_of(page: str, title: str) -> str:
    """What stands below a heading, up to the next of the same rank or a higher one."""
    text = text_of(DOCS / page)
    headings = list(_HEADING.finditer(text))
    start = next(heading for heading in headings if heading[2] == title)
    later = (heading for heading in headings if heading.start() > start.start() and len(heading[1]) <= len(start[1]))
    end = next(later, None)
    return text[start.end() : end.start() if end else len(text)]


def rows_of(text: str) -> list[list[str]]:
    """The rows of all tables in a text, without their heads."""
    lines = text.splitlines()
    rows = []
    for number, line in enumerate(lines):
        is_head = number + 1 < len(lines) and lines[number + 1].startswith("|-")
        if line.startswith("| ") and not is_head:
            rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    assert rows, "no table"
    return rows


def code_in(cell: str) -> str:
    """The first thing in backticks."""
    match = _CODE.search(cell)
    assert match, f"nothing in backticks: {cell}"
    return match[1]


# -- Tests that are named ----------------------------------------------------------------------------------


@functools.cache
def functions_of(path: str) -> frozenset[str]:
    tree = ast.parse((PROJECT / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def is_there(path: str, test: str | None) -> bool:
    return (PROJECT / path).is_file() and (not test or test in functions_of(path))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_test_that_is_named_is_there(page: Path) -> None:
    assert [match[0] for match in _TEST.finditer(text_of(page)) if not is_there(match[1], match[2])] == []


def claims() -> Iterator[tuple[str, list[str]]]:
    """Each section of conformance.md that has rows of conformance, and each of its rows."""
    for match in _HEADING.finditer(text_of(DOCS / "conformance.md")):
        section = section_of("conformance.md", match[2])
        if match[1] == "##" and "| Section |" in section:
            yield from ((match[2], row) for row in rows_of(section))


def test_whatever_is_said_to_be_done_has_a_test_that_make_test_runs() -> None:
    seen = set()
    for title, (section, demand, state, shown) in claims():
        assert state in {"yes", "partly", "handler", "no"}, f"{title}, {section}: {state}"
        assert demand
        assert state == "no" or "::test_" in shown or "tests/dialogues/" in shown, f"{title}, {section}: no test"
        assert "tests/e2e" not in shown, f"{title}, {section}: not run by `make test`"
        seen |= set(_DOCUMENT.findall(title))
    assert seen == DOCUMENTS


_DOCUMENT = re.compile(r"\b(?:RFC \d+|LOGIN|XOAUTH2|XCLIENT|XFORWARD|PROXY)\b")
DOCUMENTS = {
    *("RFC 5321", "RFC 2033", "RFC 2034", "RFC 2920", "RFC 1870", "RFC 6152", "RFC 6531", "RFC 3030", "RFC 3461"),
    *("RFC 6533", "RFC 4954", "RFC 4422", "RFC 4616", "RFC 2195", "RFC 5802", "RFC 7677", "RFC 5929", "RFC 9266"),
    *("RFC 7628", "RFC 3207", "RFC 8314", "RFC 8689", "RFC 9422", "RFC 2852", "RFC 4865", "RFC 6710", "RFC 7293"),
    *("RFC 1985", "RFC 3463", "RFC 5248", "RFC 3848", "LOGIN", "XOAUTH2", "XCLIENT", "XFORWARD", "PROXY"),
}


# -- Links and programs ------------------------------------------------------------------------------------


def anchors_of(page: Path) -> set[str]:
    """The fragments by which the headings of a page can be reached."""
    headings = [re.sub(r"[^\w\- ]", "", match[2]) for match in _HEADING.finditer(text_of(page))]
    return {heading.lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in _LINK.findall(_FENCE.sub("", text_of(page))):
        if "://" in target:
            continue
        path, _, fragment = target.partition("#")
        found = page.parent / path if path else page
        assert found.exists(), target
        assert not fragment or fragment in anchors_of(found), target


def test_every_page_is_in_the_index() -> None:
    links = set(_LINK.findall(text_of(DOCS / "README.md")))
    assert {page.name for page in DOCS.glob("*.md")} - {"README.md"} <= links


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_of_python_compiles(page: Path) -> None:
    for block in _FENCE.finditer(text_of(page)):
        if block["kind"] == "python":
            ast.parse(block["text"], page.name)


class Program(NamedTuple):
    place: str
    text: str
    output: str
    files: dict[str, str]


def programs() -> Iterator[Program]:
    for page in PAGES:
        text = text_of(page)
        blocks = list(_FENCE.finditer(text))
        files: dict[str, str] = {}
        for block, following in zip(blocks, [*blocks[1:], None], strict=False):
            if block["file"]:
                files[block["file"]] = block["text"]
            elif block["mark"]:
                assert following is not None
                assert (block["kind"], following["kind"]) == ("python", "text"), block["text"]
                line = text.count("\n", 0, block.start("text")) + 1
                yield Program(f"{page.stem}-{line}", block["text"], following["text"], {**files})


@pytest.mark.parametrize("program", list(programs()), ids=lambda program: program.place)
def test_every_program_prints_what_the_page_says(
    program: Program,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    certificates: trustme.CA,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket, "getfqdn", lambda _name="": "localhost")  # no name server is asked
    server = certificates.issue_cert("localhost", "127.0.0.1")
    server.private_key_and_cert_chain_pem.write_to_path("server.pem")
    certificates.cert_pem.write_to_path("ca.pem")
    monkeypatch.syspath_prepend(tmp_path)
    for name, text in program.files.items():
        Path(name).write_text(text, encoding="utf-8")
    exec(compile(program.text, program.place, "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out == program.output


@pytest.fixture(scope="module")
def certificates() -> trustme.CA:
    return trustme.CA()


# -- Tables ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("title", "record"), [("Settings", ehlo.Settings), ("Limits of clients", ehlo.LimitSettings)])
def test_every_setting_is_there_with_its_default(title: str, record: type[Any]) -> None:
    names = {**vars(ehlo), "Networks": Networks}
    said = {code_in(row[0]): eval(code_in(row[1]), names) for row in rows_of(section_of("behaviour.md", title))}
    assert said == {field.name: field.default for field in fields(record) if field.init}


# Bases that nobody raises; a hook's own reply; and what is logged while the client is told nothing.
NEVER_SAID = {LimitReached, ConnectionRefused, StandingRefusal, ProxyError, GateClosed, TLSFailed}


def errors() -> set[type[ehlo.ProtocolError]]:
    """Every error of the package that a client is told."""
    for module in pkgutil.walk_packages(ehlo.__path__, "ehlo."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found: set[type[ehlo.ProtocolError]] = set()
    waiting: list[type[ehlo.ProtocolError]] = [ehlo.ProtocolError]
    while waiting:
        subclasses = waiting.pop().__subclasses__()
        waiting += subclasses
        found |= {error for error in subclasses if error.__module__.startswith("ehlo.")}
    return found - NEVER_SAID


def test_every_reply_is_there_with_its_text() -> None:
    rows = rows_of(section_of("behaviour.md", "Replies to errors"))
    said = {code_in(row[0]): code_in(row[1]) for row in rows}
    assert said == {error.__name__: error().status for error in errors()}


def sources() -> str:
    return "\n".join(text_of(path) for path in sorted((PROJECT / "src/ehlo").rglob("*.py")))


def test_every_logger_is_there() -> None:
    named = set(re.findall(r'getLogger\("([\w.]+)"\)', sources())) | {"ehlo.credentials"}
    said = {code_in(row[0]) for row in rows_of(section_of("behaviour.md", "Loggers"))}
    assert said == named - {"ehlo"}


def test_every_hook_is_there() -> None:
    called = set(re.findall(r'_call_handler_hook\("(\w+)"', sources())) | {"exception"}
    said = {name for row in rows_of(section_of("building.md", "Hooks")) for name in re.findall(r"handle_(\w+)", row[0])}
    assert said == called


def test_every_extension_is_there() -> None:
    rows = rows_of(section_of("conformance.md", "What EHLO offers"))
    assert [code_in(row[0]) for row in rows] == [extension.keyword for extension in EXTENSIONS]


def test_every_public_name_is_explained() -> None:
    words = set(re.findall(r"\w+", text_of(DOCS / "building.md")))
    assert set(ehlo.__all__) - words == set()


def test_the_pages_name_nothing_of_a_machine() -> None:
    assert not [page.name for page in PAGES if re.search(r"/(?:work|root|home)/", text_of(page))]
