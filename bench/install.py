"""Fetches what the benchmark needs into bench/.peers, on first use.

A Python environment, packages of npm, a certificate. Knows pip and npm; does not know what the packages are for.
Nothing is installed anywhere else.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

CACHE = Path(__file__).parent / ".peers"
PYTHON = CACHE / "venv" / "bin" / "python"
NODE_MODULES = CACHE / "node" / "node_modules"


class MissingError(Exception):
    """Something that a peer needs is not on this machine and cannot be fetched; the text says what."""


class Certificate(NamedTuple):
    """Paths of PEM files: a server's chain and key, and the authority that signed it."""

    chain: Path
    key: Path
    authority: Path


def python_package(requirement: str) -> None:
    """Install a requirement into the peers' own environment, made with this Python, unless it is there."""
    stamp = CACHE / "venv" / f".installed-{requirement}"
    if stamp.exists() and stamp.read_text() == sys.version:
        return
    if not PYTHON.exists() or not _same_python():
        _run(sys.executable, "-m", "venv", "--clear", str(CACHE / "venv"))
    _run(str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement)
    stamp.write_text(sys.version)


def _same_python() -> bool:
    """Tell whether the environment has the Python that runs the benchmark, not one that was here before."""
    shown = subprocess.run(
        [PYTHON, "-c", "import sys; print(sys.version)"], capture_output=True, text=True, check=False
    )
    return shown.stdout.rstrip("\n") == sys.version


def python_version(package: str) -> str:
    """Return the version of a package in the peers' environment."""
    show = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"
    return _run(str(PYTHON), "-c", show, package).strip()


def node_package(name: str) -> Path:
    """Install a package of npm into bench/.peers/node unless it is there; return its folder."""
    for command in ("node", "npm"):
        if not shutil.which(command):
            raise MissingError(f"{command} is not installed")
    folder = NODE_MODULES / name
    if not folder.exists():
        NODE_MODULES.parent.mkdir(parents=True, exist_ok=True)
        prefix = str(NODE_MODULES.parent)
        _run("npm", "install", "--prefix", prefix, "--no-audit", "--no-fund", "--ignore-scripts", name)
    return folder


def node_version(name: str) -> str:
    """Return the version of a package that `node_package` installed."""
    return str(json.loads((NODE_MODULES / name / "package.json").read_text())["version"])


def certificate() -> Certificate:
    """Return a certificate for localhost, made on first use with trustme."""
    folder = CACHE / "tls"
    made = Certificate(folder / "server.pem", folder / "server.key", folder / "client.pem")
    if not all(path.exists() for path in made):
        python_package("trustme")
        folder.mkdir(parents=True, exist_ok=True)
        _run(str(PYTHON), "-m", "trustme", "--quiet", "--dir", str(folder), "--identities", "localhost", "127.0.0.1")
    return made


def _run(*command: str) -> str:
    """Run a command and return its output; raise MissingError with the last thing it said if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise MissingError(f"{' '.join(command[:4])} ... failed: {said[-1]}")
    return done.stdout
