"""One certificate authority for all tests of extensions: keys take time."""

from __future__ import annotations

import pytest

from tests.extensions.support import Authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))
