"""Broken cluster files: keys, values, machines and what they cost."""

from tests.cluster.file.broken import GCP, NOWHERE, ON_PREMISE, START, TYPES, Broken

BROKEN_NODES = [
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
        "nobody hears that nodes are taken", "  - nohup python -m dann_search.cluster.spot_notice",
        "  - true", "worker_start_ray_commands", ("nobody listens", "spot_notice aws &"),
        at="worker_start_ray_commands:", severity="warning",
    ),
    # How many, and where.
    Broken(
        "at least more nodes than at most", "    min_workers: 0\n", "    min_workers: 9\n",
        f"{TYPES}.gpu_spot.min_workers", ("must be at most max_workers (8)", "got 9"),
    ),
    Broken(
        "at least more nodes than all", "max_workers: 8  ", "max_workers: 2\n#", "max_workers",
        ("must be at least the sum of all min_workers (3)", "got 2"), at="max_workers: 2",
        more=(("    min_workers: 0\n", "    min_workers: 3\n"),),
    ),
    Broken(
        "fewer nodes than none", "    min_workers: 0\n", "    min_workers: -1\n",
        f"{TYPES}.gpu_spot.min_workers", ("must be at least 0", "got -1"),
    ),
    Broken(
        "no node types", "available_node_types:\n", "available_node_types: {}\nmetadata:\n",
        TYPES, ("is empty",),
    ),
    Broken(
        "zones of another region", "  region: us-west-2 ", "  region: us-east-1 ",
        "provider.availability_zone", ("in the region us-east-1", "got us-west-2a"),
        at="  availability_zone:",
    ),
    Broken(
        "a region where a zone belongs", "us-central1-a ", "us-central1 ",
        "provider.availability_zone", ("such as us-central1-a", "got us-central1"),
        at="  availability_zone:", file=GCP,
    ),
    Broken(
        "an account of another project", "  project_id: my-project", "  project_id: cats",
        f"{TYPES}.gpu_spot.node_config.serviceAccounts", ("(cats)", "@my-project."),
        at="      serviceAccounts:", file=GCP,
    ),
    Broken(
        "addresses that are no list", "[192.168.1.11, 192.168.1.12]", "192.168.1.11",
        "provider.worker_ips", ("must be a list", "got '192.168.1.11'"), at="worker_ips",
        file=ON_PREMISE,
    ),
    Broken(
        "an address that is none", "192.168.1.12", "192.168.1.512", "provider.worker_ips.1",
        ("must be an address", "got '192.168.1.512'"), file=ON_PREMISE,
    ),
    Broken(
        "a machine named twice", "192.168.1.12", "192.168.1.11", "provider.worker_ips.1",
        ("192.168.1.11 stands twice",), at="worker_ips:", file=ON_PREMISE,
    ),
    Broken(
        "a head that is a worker", "[192.168.1.11", "[192.168.1.10", "provider.worker_ips.0",
        ("it is the head already",), at="worker_ips:", file=ON_PREMISE,
    ),
    Broken(
        "no address of the head", "  head_ip: 192.168.1.10", "  #", "provider.head_ip",
        ("is missing",), at="provider:", file=ON_PREMISE,
    ),
    Broken(
        "nobody to log in as", "  ssh_user: ubuntu", "  #", "auth.ssh_user", ("is missing",),
        at="auth:", file=ON_PREMISE,
    ),
    Broken(
        "fewer workers than machines", "cluster_name: dann-search", "max_workers: 1\n"
        "cluster_name: dann-search", "max_workers", ("must be at least min_workers (2", "got 1"),
        file=ON_PREMISE,
    ),
    Broken(
        "an ARM machine", "      InstanceType: g5.xlarge  ", "      InstanceType: g5g.xlarge  ",
        f"{TYPES}.gpu_spot.node_config.InstanceType", ("g5g.xlarge is an ARM machine",),
    ),
    Broken(
        "an image without a driver", "common-cu129-ubuntu-2204-nvidia-580",
        "common-cpu-ubuntu-2204", f"{TYPES}.gpu_spot.node_config.disks",
        ("common-cpu-ubuntu-2204 has no NVIDIA driver",), at="disks: *cpu_disk", file=GCP,
    ),
    Broken(
        "disks that stay", "DeleteOnTermination: true", "DeleteOnTermination: false",
        f"{TYPES}.gpu_spot.node_config.BlockDeviceMappings", ("should be true", "paid for"),
        at="BlockDeviceMappings: *disk", severity="warning",
    ),
    Broken(
        "disks that stay unsaid", "          autoDelete: true\n", "",
        f"{TYPES}.gpu_spot.node_config.disks", ("autoDelete should be true",),
        at="disks: *cpu_disk", severity="warning", file=GCP,
    ),
]  # fmt: skip
