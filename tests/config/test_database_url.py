"""Databases by URL: no password but from the environment, none in memory, files where they are."""

from pathlib import Path

import pytest
from sqlalchemy import make_url

from dann_search.config.database_url import absolute_url, check_url, connection_url, shown_url


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:secret@host/x",
        "postgresql://me:se/cret@host/x",
        "postgresql://me:se?cret@host/x",
        "postgresql://me:$DB_PASSWORDx!@host/x",
        "postgresql://me@host/x?password=secret",
        "mysql+pymysql://me@host/x?ssl_key_passphrase=secret",
    ],
)
def test_a_url_with_a_password_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="must hold no password") as caught:
        check_url(url)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite://", "in memory is lost"),
        ("sqlite:///:memory:", "in memory is lost"),
        ("sqlite:///file::memory:?cache=shared&uri=true", "in memory is lost"),
        ("postgresql://me:p@ss@host/x", "cannot be read as the URL of a database"),
        ("postgresql://host:port/x", "cannot be read as the URL of a database"),
        ("a b://x", "cannot be read as the URL of a database"),
    ],
)
def test_what_is_no_lasting_database_is_refused(url: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected) as caught:
        check_url(url)
    assert "p@ss" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me@host/x",
        "postgresql://me:$DB_PASSWORD@host/x",
        "postgresql://me:${DB_PASSWORD}@host/x",
        "postgresql://me@host/x?password=$DB_PASSWORD&sslmode=require",
        "sqlite:///a.db",
    ],
)
def test_other_urls_are_taken(url: str) -> None:
    check_url(url)


def test_variables_are_quoted_in_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DANN_TEST_PASSWORD", "p@ss/w{rd")
    monkeypatch.setenv("DANN_TEST_FOLDER", "/tmp/some")
    url = connection_url("postgresql://me:$DANN_TEST_PASSWORD@host/x")
    # Releases of SQLAlchemy differ in whether they quote a brace, which need not be.
    assert url.startswith("postgresql://me:p%40ss%2Fw") and url.endswith("rd@host/x")
    assert make_url(url).password == "p@ss/w{rd"
    assert connection_url("sqlite:///$DANN_TEST_FOLDER/a.db") == "sqlite:////tmp/some/a.db"
    with pytest.raises(ValueError, match=r"takes \$DANN_TEST_ABSENT from the environment, where"):
        connection_url("postgresql://me:$DANN_TEST_ABSENT@host/x")


def test_what_is_shown_has_no_password() -> None:
    shown = shown_url("postgresql://me:$DB_PASSWORD@host/x?password=$OTHER&sslmode=require")
    assert "DB_PASSWORD" not in shown and "OTHER" not in shown
    assert shown.startswith("postgresql://me:***@host/x") and "sslmode=require" in shown


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///a.db", "sqlite:////base/a.db"),
        ("sqlite:///sub/a.db?timeout=3", "sqlite:////base/sub/a.db?timeout=3"),
        ("sqlite:////x/a.db", "sqlite:////x/a.db"),
        ("sqlite:///$FOLDER/a.db", "sqlite:///$FOLDER/a.db"),
        ("postgresql://me:$PASSWORD@host/x", "postgresql://me:$PASSWORD@host/x"),
    ],
)
def test_a_file_of_sqlite_is_made_absolute(url: str, expected: str) -> None:
    assert absolute_url(url, Path("/base")) == expected
