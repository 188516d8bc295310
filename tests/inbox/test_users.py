from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from ehlo.credentials import password_line
from ehlo.inbox.users import UserFile
from ehlo.protocol.credentials import verify_password
from ehlo.protocol.sasl import FindKeys


def test_a_file_has_passwords_and_keys(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text(f"\n# who\n ann:a:b c\n{password_line('bob', 'other', iterations=4096)}\n")
    users = UserFile(path)
    assert users.password_of("ann") == "a:b c"
    assert users.password_of("bob") is None
    assert users.password_of("") is None
    for name, password in (("ann", "a:b c"), ("bob", "other")):
        keys = users.find_keys(FindKeys(name), None)
        assert keys is not None
        assert verify_password(keys, password)
        assert keys.iterations == users.scram_iterations == 4096
    assert users.find_keys(FindKeys("nobody"), None) is None


@pytest.mark.parametrize("line", ["ann", "ann:", ":secret", "ann:{SSHA}abc", "b:y", "ann:SCRAM-SHA-256$x"])
def test_what_is_wrong_in_a_file_is_said_without_quoting_it(tmp_path: Path, line: str) -> None:
    path = tmp_path / "users"
    path.write_text(f"b:one\n{line}\n")
    with pytest.raises(ValueError, match="users:2: ") as caught:
        UserFile(path)
    assert "secret" not in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")
def test_passwords_that_others_can_read_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "users"
    path.write_text("ann:secret\n")
    path.chmod(0o644)
    with caplog.at_level(logging.WARNING, "ehlo.inbox"):
        UserFile(path)
        assert "chmod 600" in caplog.text
        caplog.clear()
        path.chmod(0o600)
        UserFile(path)
    assert not caplog.text
