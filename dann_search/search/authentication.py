"""Whether a cluster asks who joins it for a token, and answering it with this user's."""

import os

from dann_search.search.ray_private import ANSWERED, ask_head, head_address, use_own_token

MODE = "RAY_AUTH_MODE"


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
