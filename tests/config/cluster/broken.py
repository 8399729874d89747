"""Cluster files broken on purpose: what is changed, and what must be said about it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
AWS = ROOT / "cluster.yaml"
GCP = ROOT / "docs" / "cluster" / "gcp.yaml"
ON_PREMISE = ROOT / "docs" / "cluster" / "on_premise.yaml"


@dataclass(frozen=True)
class Broken:
    """One change to a shipped file.

    Attributes:
        why: names the case.
        old: text of the file that is replaced where it stands first.
        new: what stands there instead.
        key: where the one finding must be.
        message: the words of it that matter, all of them.
        at: text that ends on the line that it must name; by default ``new``'s first line.
        severity: error or warning.
        file: the shipped file.
        space: changes of the small experiment that it is to carry; None for no experiment.
    """

    why: str
    old: str
    new: str
    key: str
    message: tuple[str, ...]
    at: str = ""
    severity: str = "error"
    file: Path = AWS
    space: dict[str, Any] | None = None

    def text(self) -> str:
        """The broken file."""
        text = self.file.read_text(encoding="utf-8")
        assert self.old in text, self.old
        return text.replace(self.old, self.new, 1)

    def line(self) -> int:
        """The line that the finding must name."""
        return line_of(self.at or self.new.strip().splitlines()[0], self.text())


def line_of(part: str, text: str) -> int:
    """The line on which a part of a text ends."""
    return text[: text.index(part) + len(part)].count("\n") + 1


TYPES = "available_node_types"
NOWHERE = "#"
"""What is missing at the top level has no line."""
START = "head_start_ray_commands:\n  - ray stop\n  - >-"

BROKEN = [
    # Keys that nobody reads, level by level.
    Broken(
        "key at the top", "max_workers: 8  ", "max_worker: 8  ", "max_worker",
        ("unknown key 'max_worker'", "did you mean 'max_workers'?"),
    ),
    Broken(
        "key of long ago", "upscaling_speed: 1.0", "autoscaling_mode: aggressive",
        "autoscaling_mode", ("Ray has no such key any more", "set upscaling_speed"),
    ),
    Broken(
        "key of the provider", "  availability_zone:", "  availability_zones:",
        "provider.availability_zones",
        ("unknown key 'availability_zones'", "did you mean 'availability_zone'?"),
    ),
    Broken(
        "key of the security group", "    GroupName: ", "    Groupname: ",
        "provider.security_group.Groupname", ("did you mean 'GroupName'?",),
    ),
    Broken(
        "key of auth", "  ssh_user: ubuntu", "  ssh_usr: ubuntu", "auth.ssh_usr",
        ("unknown key 'ssh_usr'", "did you mean 'ssh_user'?"),
    ),
    Broken(
        "key of docker", "  run_options:\n", "  run_option:\n    - --init\n  run_options:\n",
        "docker.run_option", ("did you mean 'run_options'?",),
    ),
    Broken(
        "key of a node type", "    min_workers: 0\n", "    minimum_workers: 0\n",
        f"{TYPES}.gpu_spot.minimum_workers", ("did you mean 'min_workers'?",),
    ),
    Broken(
        "key of RunInstances", "     InstanceType: g5.xlarge  ", "     instance_type: g5.xlarge  ",
        f"{TYPES}.gpu_spot.node_config.instance_type", ("did you mean 'InstanceType'?",),
    ),
    Broken(
        "key deep in RunInstances", "{VolumeSize: 200,", "{VolumSize: 200,",
        f"{TYPES}.head.node_config.BlockDeviceMappings.0.Ebs.VolumSize",
        ("unknown key 'VolumSize'", "did you mean 'VolumeSize'?"),
        at="Ebs:",
    ),
    Broken(
        "key of instances.insert", "      machineType: g2-standard-8  ",
        "      machinetype: g2-standard-8  ", f"{TYPES}.gpu_spot.node_config.machinetype",
        ("did you mean 'machineType'?",), file=GCP,
    ),
    Broken(
        "key deep in instances.insert", "provisioningModel: SPOT", "provisionModel: SPOT",
        f"{TYPES}.gpu_spot.node_config.scheduling.provisionModel",
        ("did you mean 'provisioningModel'?",), at="provisionModel", file=GCP,
    ),
    Broken(
        "key of an on-premise provider", "  worker_ips: [", "  workers_ips: [",
        "provider.workers_ips", ("did you mean 'worker_ips'?",), file=ON_PREMISE,
    ),
    Broken(
        "resource in small letters", "resources: {CPU: 4, GPU: 1}",
        "resources: {CPU: 4, gpu: 1, GPU: 1}", f"{TYPES}.gpu_spot.resources.gpu",
        ("unknown resource 'gpu'", "did you mean 'GPU'?"),
    ),
    # Values that nobody accepts.
    Broken(
        "provider that is none", "  type: aws", "  type: asw", "provider.type",
        ("unknown value 'asw'", "did you mean 'aws'?"),
    ),
    Broken(
        "market that is none", "{MarketType: spot}", "{MarketType: spott}",
        f"{TYPES}.gpu_spot.node_config.InstanceMarketOptions.MarketType",
        ("unknown value 'spott'", "did you mean 'spot'?"), at="MarketType",
    ),
    Broken(
        "machine that is none", "      InstanceType: r6i.xlarge", "      InstanceType: r6i.xlrge",
        f"{TYPES}.head.node_config.InstanceType",
        ("unknown value 'r6i.xlrge'", "did you mean 'r6i.xlarge'?"), severity="warning",
    ),
    Broken(
        "size as text", "VolumeSize: 200", 'VolumeSize: "200"',
        f"{TYPES}.head.node_config.BlockDeviceMappings.0.Ebs.VolumeSize",
        ("must be a whole number", "got '200'"), at="Ebs:",
    ),
    Broken(
        "price as a number", "{MarketType: spot}",
        "{MarketType: spot, SpotOptions: {MaxPrice: 0.5}}",
        f"{TYPES}.gpu_spot.node_config.InstanceMarketOptions.SpotOptions.MaxPrice",
        ("must be text in quotes", "got 0.5"), at="MarketType",
    ),
    Broken(
        "head that is no type", "head_node_type: head", "head_node_type: heads", "head_node_type",
        ("no node type is called 'heads'", "did you mean 'head'?"),
    ),
    # Nodes that cannot do it.
    Broken(
        "more GPUs than the machine has", "resources: {CPU: 4, GPU: 1}",
        "resources: {CPU: 4, GPU: 4}", f"{TYPES}.gpu_spot.resources.GPU",
        ("must be at most 1 for g5.xlarge", "got 4"),
    ),
    Broken(
        "CPUs that Ray does not ask GCP for", "resources: {CPU: 8, GPU: 1}",
        "resources: {GPU: 1}", f"{TYPES}.gpu_spot.resources",
        ("must name CPU",), file=GCP,
    ),
    Broken(
        "head that may be taken away", "      InstanceType: r6i.xlarge\n",
        "      InstanceType: r6i.xlarge\n      InstanceMarketOptions: {MarketType: spot}\n",
        f"{TYPES}.head", ("must not be spot",), at="  head:",
    ),
    Broken(
        "head that multiplies", "    max_workers: 0  ", "    max_workers: 2  ",
        f"{TYPES}.head.max_workers", ("must be 0", "got 2"),
    ),
    Broken(
        "head that takes work", "resources: {CPU: 0} ", "resources: {CPU: 4} ",
        f"{TYPES}.head.resources.CPU", ("offers 4 CPUs", "{CPU: 0}"),
        severity="warning",
    ),
    Broken(
        "head with little memory", "InstanceType: r6i.xlarge", "InstanceType: c6i.xlarge",
        f"{TYPES}.head.node_config", ("8 GiB of memory", "13 GiB"), severity="warning",
        at="    node_config:",
    ),
    Broken(
        "no workers at all", "max_workers: 8  ", "max_workers: 0  ", "max_workers",
        ("must be at least 1", "got 0"),
    ),
    Broken(
        "disk smaller than the store", "VolumeSize: 200", "VolumeSize: 80",
        f"{TYPES}.gpu_spot.node_config.BlockDeviceMappings",
        ("needs 110 GiB", "data.store_limit_gib", "got 80"), severity="warning",
        at="BlockDeviceMappings: *disk",
    ),
    Broken(
        "image of 2022", "      ImageId: *image\n", "", f"{TYPES}.gpu_spot.node_config.ImageId",
        ("is missing", "too old"), at="resources: {CPU: 4, GPU: 1}\n    node_config:",
    ),
    Broken(
        "container without CUDA", "rayproject/ray:2.60.0-py311-gpu", "rayproject/ray:2.60.0-py311",
        "docker.image", ("rayproject/ray:2.60.0-py311 has no CUDA", "has 1 GPU"), at="  image:",
    ),
    Broken(
        "container with an old Python", "-py311-gpu", "-py310-gpu", "docker.image",
        ("must have Python 3.11 or later",), at="  image:",
    ),
    Broken(
        "container of no version", "rayproject/ray:2.60.0-py311-gpu", "rayproject/ray:latest-gpu",
        "docker.image", ("names no version",), at="  image:", severity="warning",
    ),
    # Money.
    Broken(
        "stopped nodes are kept", "cache_stopped_nodes: false", "cache_stopped_nodes: true",
        "provider.cache_stopped_nodes", ("should be false", "spot nodes cannot be stopped"),
        severity="warning",
    ),
    Broken(
        "stopped nodes are kept unsaid", "  cache_stopped_nodes: false", "  #",
        "provider.cache_stopped_nodes", ("got true (Ray's default)",), at="provider:",
        severity="warning",
    ),
    Broken(
        "idle nodes stay", "idle_timeout_minutes: 10", "idle_timeout_minutes: 600",
        "idle_timeout_minutes", ("paid for 600 minutes",), severity="warning",
    ),
    Broken(
        "nobody said when idle nodes go", "idle_timeout_minutes: 10\n", "", "idle_timeout_minutes",
        ("is missing",), at=NOWHERE, severity="warning",
    ),
    Broken(
        "nothing stands in for spot", "    max_workers: 2  ", "    max_workers: 0  ",
        f"{TYPES}.gpu_spot", ("no on-demand type", "min_workers: 0"), at="  gpu_spot:",
        severity="warning",
    ),
    Broken(
        "on-demand nodes come first by name", "  gpu_on_demand:", "  gpu_standby:",
        f"{TYPES}.gpu_standby", ("comes before gpu_spot", "the last by name"), severity="warning",
    ),
    Broken(
        "on-demand nodes come first by priority", "    priority: 0", "    priority: 20",
        f"{TYPES}.gpu_on_demand.priority", ("must be less than that of gpu_spot (10)", "got 20"),
        severity="warning",
    ),
    Broken(
        "the autoscaler is not told of refusals", "RAY_AUTOSCALER_UTILIZATION_SCORER=", "SCORER=",
        "head_start_ray_commands.1", ("again and again", "spot_first.score before ray start"),
        at=START, severity="warning",
    ),
    Broken(
        "nobody hears that nodes are taken", "  - nohup python -m dann_search.search.spot_notice",
        "  - true", "worker_start_ray_commands", ("nobody listens", "spot_notice aws &"),
        at="worker_start_ray_commands:", severity="warning",
    ),
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
        "setup_commands.0", ("torch has no version",), at="  - >-", severity="warning",
    ),
    Broken(
        "no worker is ever started", " --object-store-memory=500000000\n    --autoscaling-config=~/"
        "ray_bootstrap_config.yaml", "", "head_start_ray_commands.1",
        ("no worker would ever be started", "--autoscaling-config"), at=START,
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
