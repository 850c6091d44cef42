"""The values for Kong's Helm charts, and the example manifests: they fit the image, each other and the schema."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from click.testing import CliRunner

from request_callout import __version__
from request_callout.cli import main
from request_callout.cli.serve.settings import settings_of
from request_callout.config import load
from request_callout.config.schema import json_schema
from request_callout.transport import OutgoingRequest, Transport, TransportError
from tests.shipping import dockerfile
from tests.shipping.commands import IMAGE_DIRECTORY, PLUGINSERVER, ROOT, documents, parse

FOLDER = "deploy/kubernetes"
MOUNT = {"name": "request-callout", "mountPath": IMAGE_DIRECTORY}


def values(name: str) -> Any:
    (found,) = documents(f"{FOLDER}/{name}.yaml")
    return found


VALUES = {
    "values-kong": values("values-kong"),
    "values-kong-before-1.29": values("values-kong-before-1.29"),
    "values-ingress": values("values-ingress")["gateway"],
}


def sidecar(name: str) -> Any:
    deployment = VALUES[name]["deployment"]
    (found,) = [
        container
        for container in [*deployment["initContainers"], *deployment.get("sidecarContainers", [])]
        if container["name"] == "request-callout"
    ]
    return found


def of_image() -> dict[str, str]:
    environment = dockerfile.read()[1][-1].environment
    return {name: value for name, value in environment.items() if name.startswith("REQUEST_CALLOUT_")}


@pytest.mark.parametrize("name", VALUES)
def test_kong_is_told_of_the_server(name: str) -> None:
    """Kong's settings name the plugin, the socket and the description that the image makes in the shared volume."""
    assert VALUES[name]["env"] == PLUGINSERVER
    deployment = VALUES[name]["deployment"]
    assert deployment["userDefinedVolumeMounts"] == [MOUNT]
    (volume,) = deployment["userDefinedVolumes"]
    assert (volume["name"], volume["emptyDir"]["medium"]) == (MOUNT["name"], "Memory")


@pytest.mark.parametrize("name", VALUES)
def test_the_sidecar_runs_what_the_image_has(name: str) -> None:
    """Arguments, variables and probes are command lines of ours, with values that they take."""
    container = sidecar(name)
    given = {entry["name"]: entry["value"] for entry in container["env"]}
    assert all(isinstance(value, str) for value in given.values())
    parse(container["args"], {**of_image(), **given})
    probes = [probe["exec"]["command"] for key, probe in container.items() if key.endswith("Probe")]
    assert len(probes) == 2
    for program, *arguments in probes:
        assert program == "request-callout"
        parse(arguments, {"REQUEST_CALLOUT_SOCKET": of_image()["REQUEST_CALLOUT_SOCKET"]})
    assert container["volumeMounts"] == [MOUNT]


@pytest.mark.parametrize("name", VALUES)
def test_no_container_may_more_than_it_needs(name: str) -> None:
    """Each container of ours runs as Kong's user, without capabilities, on a root file system that is read-only."""
    deployment = VALUES[name]["deployment"]
    for container in [*deployment["initContainers"], *deployment.get("sidecarContainers", [])]:
        assert container["securityContext"] == {
            "runAsUser": 1000,
            "runAsGroup": 1000,
            "runAsNonRoot": True,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }
    assert "memory" in sidecar(name)["resources"]["limits"]


@pytest.mark.parametrize("name", VALUES)
def test_prometheus_finds_the_port(name: str) -> None:
    """Annotation, container port and PodMonitor lead to the address that the server is given."""
    container = sidecar(name)
    (port,) = container["ports"]
    (address,) = [entry["value"] for entry in container["env"] if entry["name"] == "REQUEST_CALLOUT_METRICS"]
    assert address == f"0.0.0.0:{port['containerPort']}"
    assert VALUES[name]["podAnnotations"]["prometheus.io/port"] == str(port["containerPort"])
    assert len(port["name"]) <= 15  # Kubernetes' limit
    (endpoint,) = values("podmonitor")["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] == port["name"]


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("url", ["https://127.0.0.1:8444/", "https://localhost:8444/", "https://[::1]:8444/"])
def test_no_callout_gets_to_the_admin_api_of_its_pod(name: str, url: str) -> None:
    """The containers of a pod share their loopback, where the charts have Kong's Admin API."""
    given = {entry["name"]: entry["value"] for entry in sidecar(name)["env"]}
    settings = settings_of(parse(sidecar(name)["args"], {**of_image(), **given}))
    with closing(Transport(settings.transport)) as transport, pytest.raises(TransportError) as raised:
        transport.send(OutgoingRequest("GET", url, [], None, 1, 1, 1))
    assert raised.value.kind == "destination"


def test_the_server_is_there_before_kong_and_after_it() -> None:
    """As an init container that stays it starts first and ends last; before 1.29 a dump and a pause see to that."""
    for name in ("values-kong", "values-ingress"):
        assert sidecar(name)["restartPolicy"] == "Always"
        assert "startupProbe" in sidecar(name)
    first, *others = VALUES["values-kong-before-1.29"]["deployment"]["initContainers"]
    assert not others
    shell, option, script = first["command"]
    assert (shell, option) == ("sh", "-c")
    assert script == 'request-callout dump > "$REQUEST_CALLOUT_DUMP_FILE"'
    assert int(sidecar("values-kong-before-1.29")["lifecycle"]["preStop"]["exec"]["command"][1]) > 15


@pytest.mark.parametrize("name", VALUES)
def test_images_are_of_this_version(name: str) -> None:
    """A release that forgets to name itself in the values would be deployed with the server before it."""
    deployment = VALUES[name]["deployment"]
    images = {one["image"] for one in [*deployment["initContainers"], *deployment.get("sidecarContainers", [])]}
    assert images == {f"registry.example.com/request-callout:{__version__}"}


def test_both_charts_get_the_same() -> None:
    """The values for the chart ``ingress`` are those for ``kong``, under ``gateway``."""
    assert VALUES["values-ingress"] == VALUES["values-kong"]


def test_the_example_is_a_configuration_that_the_routes_use() -> None:
    """The KongPlugin's configuration is valid, and Ingress and HTTPRoute name it, in its namespace."""
    plugin, ingress, route = documents(f"{FOLDER}/example.yaml")
    assert (plugin["kind"], plugin["plugin"]) == ("KongPlugin", "request-callout")
    assert set(plugin["config"]) <= set(json_schema()["properties"])
    load(plugin["config"])
    checked = CliRunner().invoke(main, ["validate", str(ROOT / FOLDER / "example.yaml")])
    assert checked.exit_code == 0, checked.output
    name = plugin["metadata"]["name"]
    assert ingress["metadata"]["annotations"]["konghq.com/plugins"] == name
    (rule,) = route["spec"]["rules"]
    assert [found["extensionRef"]["name"] for found in rule["filters"]] == [name]
    assert len({document["metadata"]["namespace"] for document in (plugin, ingress, route)}) == 1
