"""The two roots that programs are loaded with, and TLS for them."""

from __future__ import annotations

import gc
import ssl
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
import trustme

from tests.compat.roots import ROOTS, load


@pytest.fixture(params=ROOTS)
def root(request: pytest.FixtureRequest) -> Iterator[str]:
    """The word for aiosmtpd."""
    name: str = request.param
    yield name
    if name == "aiosmtpd":
        # Its connections are reference cycles with open sockets in them; whose test is running when they go is chance.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


@pytest.fixture
def program(root: str) -> Callable[[str], ModuleType]:
    """A function that loads a program of the folder ``consumers`` with that root."""
    return lambda name: load(f"consumers/{name}", root)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1", "::1").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def client_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context
