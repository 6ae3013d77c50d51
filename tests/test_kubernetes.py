"""The example for Kubernetes: valid by Kubernetes' own schemas, and as confined as its page says.

interop/test_containers.py runs the image with what this leaves a container.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

MANIFEST = Path(__file__).parents[1] / "docs/examples/kubernetes/pytinc.yaml"
VERSIONS = ("1.28", "1.32", kubernetes_validate.latest_version().removeprefix("v"))


def resources() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(MANIFEST.read_text()))


def pod() -> dict[str, Any]:
    (daemon_set,) = (each for each in resources() if each["kind"] == "DaemonSet")
    spec: dict[str, Any] = daemon_set["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("version", VERSIONS)
def test_the_manifest_is_valid(version: str) -> None:
    for resource in resources():
        kubernetes_validate.validate(resource, version, strict=True)


def test_a_fault_would_be_found() -> None:
    daemon_set = resources()[-1]
    daemon_set["spec"]["template"]["spec"]["hostNetwrok"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(daemon_set, VERSIONS[-1], strict=True)


def test_the_container_has_one_capability_and_a_read_only_system() -> None:
    (container,) = pod()["containers"]
    context = container["securityContext"]
    assert context["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN"]}
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert pod()["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert "privileged" not in context


def test_each_volume_is_mounted() -> None:
    (container,) = pod()["containers"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        volume["name"] for volume in pod()["volumes"]
    }
