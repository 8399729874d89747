"""This user's token, which lets in whoever reads it."""

from pathlib import Path

import pytest

from dann_search.search.authentication import close_token_file, token_file_mode


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "home" / "token"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(place))
    return place


def test_a_token_is_made_for_this_user_alone_and_stays(token: Path) -> None:
    assert token_file_mode() is None
    close_token_file()
    made = token.read_text()
    assert len(made) == 64 and token_file_mode() == 0o600
    close_token_file()
    assert token.read_text() == made and [one.name for one in token.parent.iterdir()] == ["token"]


def test_a_token_that_all_users_can_read_is_closed(token: Path) -> None:
    token.parent.mkdir()
    token.write_text("1" * 64)
    token.chmod(0o644)
    close_token_file()
    assert token_file_mode() == 0o600 and token.read_text() == "1" * 64


def test_a_folder_that_cannot_be_written_is_left_to_ray(token: Path) -> None:
    token.parent.write_text("a file where the folder should be")
    close_token_file()
    assert token_file_mode() is None
