"""The keys of a launcher's file: Ray's schema, and what Ray's providers read beyond it."""

from typing import Any

COMMANDS = ["string"]

COMMON: dict[str, Any] = {
    "type": "string",
    "region": "string",
    "availability_zone": "string",
    "use_internal_ips": "boolean",
    "use_external_head_ip": "boolean",
    "cache_stopped_nodes": "boolean",
    "disable_node_updaters": "boolean",
    "disable_launch_config_check": "boolean",
    "foreground_node_launch": "boolean",
    "worker_liveness_check": "boolean",
}
AWS = COMMON | {
    "security_group": {"GroupName": "string", "IpPermissions": "any"},
    "key_pair": {"key_name": "string"},
    "aws_credentials": "any",
    "cloudwatch": "any",
}
GCP = COMMON | {
    "project_id": "any",
    "gcp_credentials": {"type": "string", "credentials": "string"},
}
LOCAL = COMMON | {
    "head_ip": "string",
    "worker_ips": COMMANDS,
    "external_head_ip": "string",
    "coordinator_address": "string",
}
PROVIDERS: dict[str, dict[str, Any]] = {"aws": AWS, "gcp": GCP, "local": LOCAL}
"""Those whose keys are known here."""

OTHER_PROVIDERS = ("azure", "aliyun", "vsphere", "external", "spark", "kuberay")

AUTH = {
    "ssh_user": "string",
    "ssh_public_key": "string",
    "ssh_private_key": "string",
    "ssh_proxy_command": "string",
    "ssh_proxy_use_node_id": "boolean",
}
DOCKER = {
    "image": "string",
    "container_name": "string",
    "pull_before_run": "boolean",
    "run_options": COMMANDS,
    "head_image": "string",
    "head_run_options": COMMANDS,
    "worker_image": "string",
    "worker_run_options": COMMANDS,
    "disable_automatic_runtime_detection": "boolean",
    "disable_shm_size_detection": "boolean",
    "use_podman": "boolean",
}
NODE_TYPE = {
    "node_config": "any",
    "min_workers": "integer",
    "max_workers": "integer",
    "idle_timeout_s": "any",
    "priority": "integer",
    "resources": "any",
    "labels": "any",
    "initialization_commands": COMMANDS,
    "worker_setup_commands": COMMANDS,
    "docker": {
        "pull_before_run": "boolean",
        "worker_image": "string",
        "worker_run_options": COMMANDS,
    },
}
LAUNCHER: dict[str, Any] = {
    "cluster_name": "string",
    "max_workers": "integer",
    "upscaling_speed": "any",
    "idle_timeout_minutes": "any",
    "provider": "any",
    "auth": AUTH,
    "docker": DOCKER,
    "head_node_type": "string",
    "file_mounts": "any",
    "cluster_synced_files": COMMANDS,
    "file_mounts_sync_continuously": "boolean",
    "rsync_exclude": COMMANDS,
    "rsync_filter": COMMANDS,
    "metadata": "any",
    "initialization_commands": COMMANDS,
    "setup_commands": COMMANDS,
    "head_setup_commands": COMMANDS,
    "worker_setup_commands": COMMANDS,
    "head_start_ray_commands": COMMANDS,
    "worker_start_ray_commands": COMMANDS,
    "no_restart": "any",
    "available_node_types": "any",
}

GONE = {
    "initial_workers": "set min_workers of a node type",
    "autoscaling_mode": "set upscaling_speed",
    "target_utilization_fraction": "set upscaling_speed",
    "head_node": "set available_node_types and head_node_type",
    "worker_nodes": "set available_node_types",
    "min_workers": "set min_workers of a node type",
}
"""Keys that Ray had once, and what stands in their place."""
