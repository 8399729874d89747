"""The URL of a database as a user may write it: with no password but one from the environment."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

EXAMPLE = "postgresql://user:$DB_PASSWORD@host/database"
VARIABLE = re.compile(r"\$([A-Za-z_]\w*)|\$\{(\w+)\}")
SECRET_OPTION = re.compile("pass|pwd|secret|token", re.IGNORECASE)


def check_url(url: str) -> None:
    """Refuse what is no URL, what holds a password, and what is lost with the process.

    Raises:
        ValueError: why; the URL is not repeated, for there may be a password in it.
    """
    parsed = _parsed(url)
    options = _options(parsed).items()
    secrets = [parsed.password, *(v for k, v in options if SECRET_OPTION.search(k))]
    if any(secret and not VARIABLE.fullmatch(secret) for secret in secrets):
        raise ValueError(
            "must hold no password, for it is copied into the experiment's record; take it "
            f"from the environment: {EXAMPLE}"
        )
    if _is_sqlite(parsed) and (not parsed.database or ":memory:" in parsed.database):
        raise ValueError(
            "a study in memory is lost with the process; name a file: sqlite:////folder/studies.db"
        )


def absolute_url(url: str, base: Path) -> str:
    """Resolve the path of an SQLite URL: relative paths are relative to ``base``."""
    parsed = _parsed(url)
    file = parsed.database or ""
    if not _is_sqlite(parsed) or file.startswith(("$", "file:")) or Path(file).is_absolute():
        return url
    return parsed.set(database=str(base / file)).render_as_string(hide_password=False)


def shown_url(url: str) -> str:
    """Return the URL as messages show it: without passwords and their variables."""
    parsed = _parsed(url)
    hidden = {name: "***" for name in _options(parsed) if SECRET_OPTION.search(name)}
    return parsed.update_query_dict(hidden).render_as_string(hide_password=True)


def connection_url(url: str) -> str:
    """Replace each ``$NAME`` in the URL by the environment's value, quoted for its part.

    Raises:
        ValueError: a variable is not set.
    """
    parsed = _parsed(url)
    stated = {part: getattr(parsed, part) for part in ("username", "password", "host", "database")}
    parts: dict[str, Any] = {part: expanded(text) for part, text in stated.items() if text}
    query = {name: expanded(value) for name, value in _options(parsed).items()}
    return parsed.set(**parts, query=query).render_as_string(hide_password=False)


def _parsed(url: str) -> "URL":
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        parsed = None
    # An @ within a password makes the rest of it part of the host.
    if parsed is None or "@" in (parsed.host or ""):
        raise ValueError(f"cannot be read as the URL of a database; write it like {EXAMPLE}")
    return parsed


def _options(parsed: "URL") -> dict[str, str]:
    """Parse the options behind the question mark; the last one wins where one is given twice."""
    return {k: v if isinstance(v, str) else v[-1] for k, v in parsed.query.items()}


def _is_sqlite(parsed: "URL") -> bool:
    return parsed.get_backend_name() == "sqlite"


def expanded(text: str) -> str:
    """Put the values of environment variables into a text.

    Raises:
        ValueError: one is not set.
    """
    for match in VARIABLE.finditer(text):
        if not os.environ.get(name := match[1] or match[2]):
            raise ValueError(f"takes ${name} from the environment, where it is not set")
    return os.path.expandvars(text)
