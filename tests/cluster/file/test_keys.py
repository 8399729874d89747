"""The clouds' keys that are shipped, and what machines have by their names."""

import json

import pytest

from dann_search.cluster.file.keys import clouds
from dann_search.cluster.file.machines import Machine, aws_machine, gcp_machine


def test_an_installed_botocore_adds_what_it_knows_and_takes_nothing_away() -> None:
    pytest.importorskip("botocore", reason="botocore is not installed: nothing to add")
    shipped = json.loads((clouds.FOLDER / "ec2.json").read_text())
    installed = clouds.of_botocore()
    assert is_part(shipped, clouds.ec2()) and is_part(installed, clouds.ec2())
    # The shipped tree is botocore's: of any age they have nearly everything in common.
    both = shipped["RunInstances"].keys() & installed["RunInstances"].keys()
    assert len(both) >= 35


def test_united_trees_have_the_keys_and_words_of_both() -> None:
    one = {"a": "=x|y", "b": [{"c": "string"}], "d": "integer"}
    other = {"a": "=y|z", "b": [{"e": "string"}]}
    assert clouds.unite(one, other) == {
        "a": "=x|y|z",
        "b": [{"c": "string", "e": "string"}],
        "d": "integer",
    }


def is_part(part: object, whole: object) -> bool:
    """Whether a tree has no key and no word that the other lacks."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(key in whole and is_part(value, whole[key]) for key, value in part.items())
    if isinstance(part, list) and isinstance(whole, list):
        return is_part(part[0], whole[0])
    return {*str(part).strip("=").split("|")} <= {*str(whole).strip("=").split("|")}


def test_the_shipped_keys_name_what_a_node_is_made_of() -> None:
    shipped = json.loads((clouds.FOLDER / "ec2.json").read_text())["RunInstances"]
    assert {"InstanceType", "ImageId", "BlockDeviceMappings", "KeyName"} <= shipped.keys()
    assert "g5.xlarge" in shipped["InstanceType"]
    assert {"machineType", "disks", "scheduling"} <= clouds.gce()["Instance"].keys()


@pytest.mark.parametrize(
    ("name", "machine"),
    [
        # https://aws.amazon.com/ec2/instance-types/
        ("g5.xlarge", Machine(4, 1, 16, "A10G")),
        ("g5.12xlarge", Machine(48, 4, 192, "A10G")),
        ("g4dn.12xlarge", Machine(48, 4, 192, "T4")),
        ("p4d.24xlarge", Machine(96, 8, None, "A100")),
        ("p3.2xlarge", Machine(8, 1, None, "V100")),
        ("r6i.xlarge", Machine(4, 0, 32)),
        ("m5.large", Machine(2, 0, 8)),
        ("c6i.4xlarge", Machine(16, 0, 32)),
        ("m5.metal", None),
        ("g9z.xlarge", None),
    ],
)
def test_an_aws_machine_has_what_its_name_says(name: str, machine: Machine | None) -> None:
    assert aws_machine(name) == machine


@pytest.mark.parametrize(
    ("name", "added", "machine"),
    [
        # https://cloud.google.com/compute/docs/gpus
        ("g2-standard-8", 0, Machine(8, 1, 32)),
        ("g2-standard-24", 0, Machine(24, 2, 96)),
        ("a2-highgpu-4g", 0, Machine(48, 4)),
        ("a3-highgpu-8g", 0, Machine(208, 8)),
        ("n1-standard-8", 2, Machine(8, 2, 32)),
        ("zones/us-central1-a/machineTypes/n2-highmem-4", 0, Machine(4, 0, 32)),
        ("e2-micro", 0, None),
    ],
)
def test_a_gcp_machine_has_what_its_name_says(
    name: str, added: int, machine: Machine | None
) -> None:
    assert gcp_machine(name, added) == machine
