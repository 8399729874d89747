"""A place of its own for each test's token."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another place for this machine's token, with none in it."""
    place = tmp_path / "token"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(place))
    return place
