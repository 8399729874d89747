"""Whether a cluster asks who joins it for a token, and answering it with this user's."""

import os

LIMIT_S = 5
ANSWERED, REFUSED = "answered", "refused"
MODE = "RAY_AUTH_MODE"


def own_token() -> str | None:
    """This user's: of RAY_AUTH_TOKEN, of the file at RAY_AUTH_TOKEN_PATH or of ~/.ray."""
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

    loader = AuthenticationTokenLoader.instance()
    if not loader.has_token(ignore_auth_mode=True):
        return None
    token: str = loader.get_raw_token(ignore_auth_mode=True)
    return token


def ask_gcs(address: str, token: str | None) -> str:
    """Ask the head at HOST:PORT for its nodes: ``answered``, ``refused``, or the error."""
    import grpc
    from ray.core.generated import gcs_service_pb2 as messages
    from ray.core.generated import gcs_service_pb2_grpc as services

    metadata = [("authorization", f"Bearer {token}")] if token else None
    with grpc.insecure_channel(address) as channel:
        stub = services.NodeInfoGcsServiceStub(channel)
        request = messages.GetAllNodeInfoRequest()
        try:
            stub.GetAllNodeInfo(request, timeout=LIMIT_S, metadata=metadata)
        except grpc.RpcError as exc:
            if exc.code() == grpc.StatusCode.UNAUTHENTICATED:
                return REFUSED
            return str(exc.code().name.lower().replace("_", " "))
    return ANSWERED


def bring_own_token() -> None:
    """Have this process show this user's token, if there is one and RAY_AUTH_MODE says nothing."""
    from ray._private.authentication.authentication_token_setup import (
        maybe_enable_token_auth_if_token_available,
    )

    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


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
    from ray._private.services import canonicalize_bootstrap_address

    head = canonicalize_bootstrap_address(address)
    if head and ask_gcs(head, None) == ANSWERED:
        os.environ[MODE] = "disabled"
    else:
        bring_own_token()
