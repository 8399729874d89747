"""Broken cluster files: who gets in, how Ray starts, what is installed, what a search needs."""

from tests.cluster.file.broken import GCP, START, TYPES, WORKER_START, Broken

BROKEN_START = [
    # Who gets in.
    Broken(
        "dashboard open to the internet", "    GroupName: dann-search-nodes\n",
        "    GroupName: dann-search-nodes\n    IpPermissions:\n      - FromPort: 8265\n"
        "        ToPort: 8265\n        IpProtocol: tcp\n"
        "        IpRanges: [{CidrIp: 0.0.0.0/0}]\n",
        "provider.security_group.IpPermissions.0.IpRanges.0.CidrIp",
        ("port 8265 open to the whole internet", "got 0.0.0.0/0"), at="CidrIp",
    ),
    Broken(
        "everything open to the internet", "    GroupName: dann-search-nodes\n",
        "    GroupName: dann-search-nodes\n    IpPermissions:\n"
        "      - {IpProtocol: '-1', Ipv6Ranges: [{CidrIpv6: '::/0'}]}\n",
        "provider.security_group.IpPermissions.0.Ipv6Ranges.0.CidrIpv6",
        ("all ports open to the whole internet", "got ::/0"), at="CidrIpv6",
    ),
    Broken(
        "dashboard on every address", "--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0",
        "head_start_ray_commands.1", ("--dashboard-host: must be 127.0.0.1", "got 0.0.0.0"),
        at=START,
    ),
    Broken(
        "no token mode", "    - -e RAY_AUTH_MODE=token  ", "    #", "head_start_ray_commands.1",
        ("token authentication is not on", "-e RAY_AUTH_MODE=token"), at=START,
    ),
    Broken(
        "token mode off", "RAY_AUTH_MODE=token  ", "RAY_AUTH_MODE=disabled  ",
        "docker.run_options.1", ("RAY_AUTH_MODE: must be token, got disabled",),
        at="RAY_AUTH_MODE",
    ),
    Broken(
        "no token", "  ~/.ray/auth_token: ~/.ray/auth_token  ", "  #", "file_mounts",
        ("no token reaches the nodes", "ray get-auth-token --generate"), at="file_mounts:",
    ),
    Broken(
        "token in the file", "    - -e RAY_AUTH_MODE=token",
        "    - -e RAY_AUTH_TOKEN=0123abc\n    - -e RAY_AUTH_MODE=token", "docker.run_options.1",
        ("the token itself stands in the file",),
    ),
    Broken(
        "credentials in the file", "  region: us-west-2",
        "  aws_credentials: {aws_access_key_id: AKIA}\n  region: us-west-2",
        "provider.aws_credentials", ("a secret in a file",),
    ),
    # Versions.
    Broken(
        "another torch on the workers", "worker_setup_commands: []",
        "worker_setup_commands:\n  - pip install torch==2.12.0", "worker_setup_commands.0",
        ("torch: the head has 2.13.0, gpu_spot 2.12.0",), at="torch==2.12.0",
    ),
    Broken(
        "another Ray in the workers' image", "  container_name: dann_search",
        "  worker_image: rayproject/ray:2.59.0-py311-gpu\n  container_name: dann_search",
        "docker.worker_image", ("ray: the head has 2.60.0, gpu_spot 2.59.0",),
    ),
    Broken(
        "torch without a version", "torch==2.13.0 torchvision", "torch torchvision",
        "setup_commands.0", ("torch has no exact version",), at="  - >-", severity="warning",
    ),
    Broken(
        "no worker is ever started", " --object-store-memory=500000000\n    --autoscaling-config=~/"
        "ray_bootstrap_config.yaml", "", "head_start_ray_commands.1",
        ("no worker would ever be started", "--autoscaling-config"), at=START,
    ),
    Broken(
        "a range of torch", "torch==2.13.0", "torch>=2.13", "setup_commands.0",
        ("torch has no exact version", "write torch=="), at="  - >-", severity="warning",
    ),
    Broken(
        "a branch that moves", '"$HOME/dist/dann_search-0.1.0-py3-none-any.whl[s3]"',
        '"dann-search[s3] @ git+https://example.org/dann-search"', "setup_commands.0",
        ("git+https://example.org/dann-search names no commit",), at="setup_commands:\n  - >-",
        severity="warning",
    ),
    Broken(
        "another version of this project", "dann_search-0.1.0", "dann_search-9.9.9",
        "setup_commands.0", ("gets dann-search 9.9.9 and this machine has",),
        at="setup_commands:\n  - >-", severity="warning",
    ),
    # How nodes get in touch.
    Broken(
        "half the internet", "    GroupName: dann-search-nodes\n",
        "    GroupName: dann-search-nodes\n    IpPermissions:\n"
        "      - {FromPort: 20, ToPort: 90, IpProtocol: tcp, IpRanges: [{CidrIp: 128.0.0.0/1}]}\n",
        "provider.security_group.IpPermissions.0.IpRanges.0.CidrIp",
        ("ports 20-90 open to a large part of the internet", "got 128.0.0.0/1"), at="CidrIp",
    ),
    Broken(
        "a network that is none", "    GroupName: dann-search-nodes\n",
        "    GroupName: dann-search-nodes\n    IpPermissions:\n"
        "      - {FromPort: 22, ToPort: 22, IpProtocol: tcp, IpRanges: [{CidrIp: 10.0.0/33}]}\n",
        "provider.security_group.IpPermissions.0.IpRanges.0.CidrIp",
        ("must be a network", "got 10.0.0/33"), at="CidrIp",
    ),
    Broken(
        "a port that the container does not publish", "    - --ulimit nofile=65536:65536\n",
        "    - --ulimit nofile=65536:65536 -p 8265:8265\n", "docker.run_options.0",
        ("does nothing", "ray dashboard"),
    ),
    Broken(
        "a head that is none", "ray start --head --port", "ray start --port",
        "head_start_ray_commands.1", ("lacks --head",), at=START,
    ),
    Broken(
        "workers that look for no head", " --address=$RAY_HEAD_IP:6379", "",
        "worker_start_ray_commands.1", ("lacks --address", "$RAY_HEAD_IP:6379"), at=WORKER_START,
    ),
    Broken(
        "workers that knock at another port", "--port=6379", "--port=6380",
        "worker_start_ray_commands.1", ("listens on port 6380", "got 6379"), at=WORKER_START,
    ),
    Broken(
        "workers on which nothing starts", "    ray start --address", "    ray strt --address",
        "worker_start_ray_commands", ("no command starts Ray",), at="worker_start_ray_commands:",
    ),
    Broken(
        "a store larger than the machine", "--object-store-memory=500000000\n    --auto",
        "--object-store-memory=500000000000\n    --auto", "head_start_ray_commands.1",
        ("less than the machine's memory (32 GiB)", "got 500000000000 (466 GiB)"), at=START,
    ),
    # What is installed.
    Broken(
        "nobody installs this project",
        '\n    "$HOME/dist/dann_search-0.1.0-py3-none-any.whl[s3]"', "", "setup_commands",
        ("nothing installs this project",), at="setup_commands:",
    ),
    Broken(
        "a wheel that is on no node", "  ~/dist: dist ", "  # ", "setup_commands.0",
        ("dann_search-0.1.0-py3-none-any.whl is on no node", "file_mounts"),
        at="setup_commands:\n  - >-",
    ),
    # What the search needs.
    Broken(
        "trial larger than any node", "max_workers: 8  ", "max_workers: 8  ",
        f"{TYPES}.gpu_spot", ("it needs 2 workers with 3 CPUs and 1 GPU each on one node",
        "it has 4 CPUs and 1 GPU"), at="  gpu_spot:",
        space={"resources": {"workers_per_trial": 2, "cpus_per_worker": 3}},
    ),
    Broken(
        "GPUs of another kind", "max_workers: 8  ", "max_workers: 8  ", f"{TYPES}.gpu_spot",
        ("it needs accelerator_type: A100, and resources name A10G",), at="  gpu_spot:",
        space={"resources": {"accelerator_type": "A100"}},
    ),
    Broken(
        "GPUs whose kind Ray is not told", "max_workers: 8\n", "max_workers: 8\n",
        f"{TYPES}.gpu_spot", ("it needs accelerator_type: L4", "(accelerator_type:L4: 1)"),
        at="  gpu_spot:", file=GCP, space={"resources": {"accelerator_type": "L4"},
        "storage": "gs://bucket/runs"},
    ),
    Broken(
        "memory that a node has not", "max_workers: 8  ", "max_workers: 8  ",
        f"{TYPES}.gpu_spot", ("1 CPU and 1 GPU and 32 GiB of memory", "and 16 GiB"),
        at="  gpu_spot:", space={"resources": {"memory_per_worker_gib": 32}},
    ),
    Broken(
        "storage on a node's own disk", "max_workers: 8  ", "max_workers: 8  ", "storage",
        ("/home/ray/runs is on each node's own disk", "s3://"), at="storage:",
        space={"storage": "/home/ray/runs"},
    ),
    Broken(
        "data that nodes do not see", "max_workers: 8  ", "max_workers: 8  ", "data.source.folder",
        ("/home/me/cats is on this machine", "file_mounts"), at="folder:",
        space={"data__source": {"folder": "/home/me/cats"}},
    ),
    Broken(
        "storage that nothing can open", "[s3]", "", "setup_commands",
        ("nothing installs s3fs", "dann-search[s3]"), at="setup_commands:", space={},
    ),
]  # fmt: skip
