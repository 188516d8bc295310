"""The direction of the imports: an AST walk over src/ehlo, held against two tables.

Every import counts, also one inside a function or under `if TYPE_CHECKING`.  To allow a new edge, change the table:
that is a decision about the architecture, and it is meant to be seen in review.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).parents[1] / "src"
MODULES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(SOURCE.glob("ehlo/**/*.py"))
}

# A layer is a module of the package `ehlo` with all that is below it; PACKAGE is ehlo/__init__.py itself.
PACKAGE = "ehlo"
# Each layer, and what it may import beside itself: layers, or single modules of a layer.
LAYERS: dict[str, set[str]] = {
    "errors": set(),
    "stats": set(),
    "protocol": {"errors"},
    "session": {"errors", "protocol"},
    "trace": {"errors", "protocol", "session"},
    "net": {"errors", "protocol", "stats"},
    "hooks": {"errors", "protocol"},
    "credentials": {"errors", "protocol"},
    "auth": {"errors", "protocol", "session", "hooks", "credentials"},
    "settings": {"errors", "protocol", "session", "net.limits", "hooks", "auth"},
    "content": {"errors", "protocol", "session", "settings"},
    "shared": {"errors", "stats", "protocol", "session", "net", "hooks", "auth", "settings"},
    "verbs": {"errors", "protocol", "hooks", "auth"},
    "hooked": {"errors", "stats", "protocol", "session", "net", "hooks", "auth", "settings", "shared"},
    "dispatch": {
        *("errors", "stats", "protocol", "session", "net", "hooks", "auth", "settings", "shared", "verbs", "hooked"),
    },
}
LAYERS |= {
    "smtp_auth": LAYERS["dispatch"] | {"dispatch", "credentials"},
    "smtp_data": LAYERS["dispatch"] | {"dispatch", "content"},
    "smtp_proxied": LAYERS["dispatch"] | {"dispatch"},
    "smtp": LAYERS["dispatch"] | {"dispatch", "smtp_auth", "smtp_data", "smtp_proxied"},
}
LAYERS |= {
    "lmtp": LAYERS["smtp"] | {"smtp"},
    "handlers": {"errors", "protocol", "session", "trace", "net.client", "net.wire", "hooks", "smtp"},
    "controller": LAYERS["smtp"] | {"smtp", "lmtp", "credentials"},
    "worker": {"controller", "credentials", "net"},
}
LAYERS["config"] = {"auth", "net", "settings"}
LAYERS[PACKAGE] = {*LAYERS}
LAYERS["main"] = {*LAYERS}
CORE = {*LAYERS}  # and nothing in it imports what follows
LAYERS |= {
    "mime": set(),
    "report": {"mime"},
    "inbox": CORE - {"main"} | {"mime", "report"},
    "testing": CORE - {"main"} | {"inbox"},
    "compat": CORE,
    "cli": CORE | {"mime", "inbox", "testing", "compat", "report"},
    "__main__": {"main", "cli"},
}

# Modules of the standard library that a layer must do without.
FORBIDDEN: dict[str, set[str]] = {
    "protocol": {"asyncio", "socket", "ssl", "select", "selectors", "threading", "time"},
}
# What does not come with Python, and who may use it when it happens to be installed.
OPTIONAL: dict[str, set[str]] = {
    "uvloop": {"net", "controller", "main", "cli"},
    "pytest": {"testing"},
    "starlette": {"inbox"},
    "uvicorn": {"inbox"},
    "nh3": {"inbox"},
    "cryptography": {"inbox"},
    "dkim": {"report"},
    "dns": {"report"},
}
# (importing module, imported module): edges against the direction that exist for the type checker only.
FOR_TYPES_ONLY: set[tuple[str, str]] = set()


class Import(NamedTuple):
    """``module`` is absolute, and a module not a name in it; ``is_for_types`` under `if TYPE_CHECKING`."""

    module: str
    line: int
    is_for_types: bool


def imports_of(module: str, source: str, *, is_package: bool = False) -> Iterator[Import]:
    """Everything that ``module`` imports, wherever the statement stands."""
    package = module if is_package else module.rpartition(".")[0]

    def walk(node: ast.AST, *, is_for_types: bool) -> Iterator[Import]:
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield Import(alias.name, node.lineno, is_for_types)
            case ast.ImportFrom(module=maybe_base, names=names, level=level):
                base = ".".join(package.split(".")[: len(package.split(".")) - level + 1]) if level else ""
                base = ".".join(filter(None, [base, maybe_base]))
                for alias in names:
                    # `from ehlo.protocol import lines` imports a module, `from ehlo.errors import EhloError` a name.
                    full = f"{base}.{alias.name}"
                    is_module = full in MODULES or (base == PACKAGE and alias.name in LAYERS)
                    yield Import(full if is_module else base, node.lineno, is_for_types)
            case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
                for statement in node.body:
                    yield from walk(statement, is_for_types=True)
                for statement in node.orelse:
                    yield from walk(statement, is_for_types=is_for_types)
            case _:
                for child in ast.iter_child_nodes(node):
                    yield from walk(child, is_for_types=is_for_types)

    yield from walk(ast.parse(source), is_for_types=False)


def layer_of(module: str) -> str:
    """``"protocol"`` for ``"ehlo.protocol.lines"``; may be no layer that the table knows."""
    return module.split(".")[1] if "." in module else module


def violations_in(module: str, source: str, *, is_package: bool = False) -> list[str]:
    """One line for each import that breaks a rule: file, line, what is imported, and the rule."""
    path = MODULES.get(module, SOURCE / f"{module.replace('.', '/')}.py").relative_to(SOURCE.parent)
    layer = layer_of(module)
    if layer not in LAYERS:
        return [f"{path}:1: {layer!r} is no layer; LAYERS in {Path(__file__).name} has to say what it may import"]
    broken = ((found, broken_rule(module, found)) for found in imports_of(module, source, is_package=is_package))
    return [f"{path}:{found.line}: imports {found.module}, but {rule}" for found, rule in broken if rule]


def broken_rule(module: str, found: Import) -> str | None:
    """The rule that the import breaks, as the end of a sentence; None if it is allowed."""
    layer = layer_of(module)
    top = found.module.partition(".")[0]
    if top == PACKAGE:
        if layer_of(found.module) == layer or is_allowed(found.module, LAYERS[layer]):
            return None
        if found.is_for_types and (module, found.module) in FOR_TYPES_ONLY:
            return None
        return f"{layer} may import only {', '.join(sorted(LAYERS[layer])) or 'the standard library'}"
    if top in FORBIDDEN.get(layer, set()):
        return f"{layer} must do without {', '.join(sorted(FORBIDDEN[layer]))}"
    if top not in sys.stdlib_module_names and layer not in OPTIONAL.get(top, set()):
        return f"{layer} must do without what does not come with Python"
    return None


def is_allowed(module: str, allowed: set[str]) -> bool:
    inside = module.removeprefix(f"{PACKAGE}.")
    return any(inside == name or inside.startswith(f"{name}.") for name in allowed)


def test_every_module_keeps_the_direction() -> None:
    found = [
        violation
        for module, path in MODULES.items()
        for violation in violations_in(module, path.read_text("utf-8"), is_package=path.name == "__init__.py")
    ]
    assert not found, "\n" + "\n".join(found)


def test_the_walk_reaches_the_sources() -> None:
    assert {"ehlo", "ehlo.errors"} <= MODULES.keys()


def test_the_table_has_no_cycle() -> None:
    lower: set[str] = set()
    for layer, allowed in LAYERS.items():
        assert {name.partition(".")[0] for name in allowed} <= lower, f"{layer} stands above what it imports"
        lower.add(layer)


@pytest.mark.parametrize(
    ("module", "source", "rule"),
    [
        ("ehlo.errors", "import ehlo.session", "may import only the standard library"),
        ("ehlo.protocol.lines", "import asyncio", "must do without asyncio"),
        ("ehlo.protocol.lines", "from asyncio import streams", "must do without asyncio"),
        ("ehlo.protocol.lines", "import os, time", "must do without asyncio"),
        ("ehlo.protocol.lines", "def f():\n    import ssl", "must do without asyncio"),
        ("ehlo.protocol.lines", "if TYPE_CHECKING:\n    import socket", "must do without asyncio"),
        ("ehlo.protocol.lines", "from ehlo.net import connection", "may import only errors"),
        ("ehlo.protocol.lines", "from ..net import connection", "may import only errors"),
        ("ehlo.protocol.lines", "from .. import session", "may import only errors"),
        ("ehlo.net.flow", "from ehlo import smtp", "may import only errors, protocol"),
        ("ehlo.net.flow", "import typing\nif typing.TYPE_CHECKING:\n    from ehlo.smtp import SMTP", "may import only"),
        ("ehlo.smtp", "from ehlo import cli", "may import only"),
        ("ehlo.smtp", "from ehlo.inbox import store", "may import only"),
        ("ehlo.smtp", "import ehlo.testing", "may import only"),
        ("ehlo.smtp", "import ehlo.compat.aiosmtpd", "may import only"),
        ("ehlo.smtp", "import attrs", "does not come with Python"),
        ("ehlo.smtp", "import uvloop", "does not come with Python"),
        ("ehlo.handlers", "from ehlo.net import flow", "may import only"),
        ("ehlo.main", "from ehlo import cli", "may import only"),
        ("ehlo.newcomer", "", "is no layer"),
    ],
)
def test_a_planted_violation_is_found(module: str, source: str, rule: str) -> None:
    (violation,) = violations_in(module, source)
    file, line, _ = violation.split(":", 2)
    assert file.replace("/__init__.py", ".py") == f"src/{module.replace('.', '/')}.py"
    assert int(line) == max(1, len(source.splitlines()))
    assert rule in violation


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("ehlo.protocol.lines", "import re\nfrom ehlo import errors\nfrom ehlo.protocol import grammar"),
        ("ehlo.protocol.lines", "from . import grammar\nfrom ..errors import EhloError"),
        ("ehlo.net.serve", "import asyncio, ssl, uvloop"),
        ("ehlo.handlers", "from ehlo.net.client import Client"),
        ("ehlo.cli.serve", "from ehlo import __version__\nfrom ehlo.inbox import store"),
    ],
)
def test_an_import_along_the_direction_is_allowed(module: str, source: str) -> None:
    assert violations_in(module, source) == []


def test_a_package_resolves_its_relative_imports_from_itself() -> None:
    assert [found.module for found in imports_of("ehlo.net", "from .. import errors", is_package=True)] == [
        "ehlo.errors"
    ]
