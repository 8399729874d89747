"""Ray's ports are open to the network, so what stands before them must hold."""

import os
import subprocess
import sys

import pytest
import ray

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

JOIN = "import ray, sys; ray.init(address=sys.argv[1], logging_level='ERROR'); print('joined')"


@pytest.mark.parametrize(("mode", "joins"), [("token", True), ("disabled", False)])
def test_only_who_has_the_token_joins_the_cluster(mode: str, joins: bool) -> None:
    """A stranger's driver tries for 20 s; test_ray_private.py shows at once that it is refused."""
    address = ray.get_runtime_context().gcs_address
    done = subprocess.run(
        [sys.executable, "-c", JOIN, address],
        env={**os.environ, "RAY_AUTH_MODE": mode, "RAY_gcs_rpc_server_connect_timeout_s": "5"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout.strip() == "joined") is joins, done.stdout + done.stderr
    assert (done.returncode == 0) is joins
