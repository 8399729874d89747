"""Whether a cluster asks who joins it for a token, and answering it with this user's."""

import contextlib
import os
import secrets
import stat
from pathlib import Path

from dann_search.search.ray_private import ANSWERED, ask_head, head_address, use_own_token

MODE = "RAY_AUTH_MODE"
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def token_file() -> Path:
    """Return where Ray looks for this user's token."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()


def token_file_mode() -> int | None:
    """Return the permissions of the file with this user's token; None without one."""
    try:
        return stat.S_IMODE(token_file().stat().st_mode)
    except OSError:
        return None


def close_token_file() -> None:
    """Let only this user read their token, and make one if there is none.

    Ray makes it too, but readable by all users of the machine, who can run code with it.
    """
    place = token_file()
    # Where it cannot be written, Ray says so.
    with contextlib.suppress(OSError):
        if place.exists():
            if (token_file_mode() or 0) & OTHERS:
                place.chmod(0o600)
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        new = place.with_name(f"{place.name}.{os.getpid()}")
        descriptor = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
        try:
            # Unlike a rename, a link never replaces the token that another process has just made.
            os.link(new, place)
        finally:
            new.unlink()


def do_as_the_cluster_does(address: str) -> None:
    """Before this process joins a cluster: ask for tokens exactly where the cluster does.

    A driver is a server too. One with a token refuses the calls of an open cluster, which then
    takes its actors for abandoned; and every user has a token as soon as Ray ran on their machine.
    What the user says in RAY_AUTH_MODE stands.

    Args:
        address: ``auto`` or HOST:PORT.
    """
    if MODE in os.environ:
        return
    head = head_address(address)
    if head and ask_head(head, None) == ANSWERED:
        os.environ[MODE] = "disabled"
    else:
        use_own_token()
