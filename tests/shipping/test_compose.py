"""docker-compose.yml: its parts fit each other and the image, and its kong.yml gives the answers it promises."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from request_callout.cli.demo.process import GatewayProcess
from request_callout.cli.demo.services import FIXED_PORTS, StandIns
from tests.servers.redis_server import HOST, running
from tests.shipping import dockerfile
from tests.shipping.commands import DESCRIPTION, IMAGE_DIRECTORY, PLUGINSERVER, ROOT, SOCKET, documents, parse, settings

(COMPOSE,) = documents("docker-compose.yml")
SERVICES: dict[str, Any] = COMPOSE["services"]
KONG_YML = ROOT / "deploy" / "docker" / "kong.yml"


def kong_settings() -> dict[str, str]:
    given = SERVICES["kong"]["environment"]
    return {name.removeprefix("KONG_").lower(): value for name, value in given.items() if name.startswith("KONG_")}


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_may_more_than_it_needs(name: str) -> None:
    """All run as one user without privileges, on a read-only root, with a health check, and listen on loopback only.

    No log grows without end.
    """
    service = SERVICES[name]
    assert service["user"] == "1000:1000"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["logging"] == {"driver": "local"}
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_images_are_pinned_and_kong_is_as_it_comes() -> None:
    """Kong's image is the official one of 3.9, nothing is built but the plugin server, and no tag says ``latest``."""
    assert SERVICES["kong"]["image"] == "kong:3.9"
    assert "build" not in SERVICES["kong"]
    for service in SERVICES.values():
        assert "build" in service or re.fullmatch(r"\w+:\d+(\.\d+)*", service["image"])


def test_what_is_mounted_exists() -> None:
    """Volumes are declared, files are there, and Kong and the server see one directory at the same place."""
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", volume).split(":")[0]
            assert source in COMPOSE["volumes"] or (ROOT / source).is_file(), volume
        assert all(other in SERVICES for other in service.get("depends_on", {}))
    shared = f"shared:{IMAGE_DIRECTORY}"
    assert shared in SERVICES["kong"]["volumes"]
    assert SERVICES["request-callout"]["volumes"] == [shared]
    assert COMPOSE["volumes"]["shared"]["driver_opts"]["o"] == "uid=1000,gid=1000,mode=0700"


def test_kong_is_told_of_the_server() -> None:
    """Kong's variables name the plugin as kong.conf does, and the files that the image makes."""
    assert kong_settings().items() >= PLUGINSERVER.items()
    assert settings("kong.conf").items() >= PLUGINSERVER.items()
    image = dockerfile.read()[1][-1].environment
    assert (image["REQUEST_CALLOUT_SOCKET"], image["REQUEST_CALLOUT_DUMP_FILE"]) == (SOCKET, DESCRIPTION)
    assert SERVICES["kong"]["depends_on"]["request-callout"]["condition"] == "service_healthy"
    assert kong_settings()["admin_listen"].startswith("127.0.0.1:")


def test_commands_and_variables_are_ours() -> None:
    """What the services of our image run, and the variables they get, are commands and options of ours."""
    image = dockerfile.read()[1][-1].environment
    variables = {name: value for name, value in image.items() if name.startswith("REQUEST_CALLOUT_")}
    parse(["serve"], {**variables, **SERVICES["request-callout"]["environment"]})
    demo = parse(SERVICES["demo"]["command"])
    assert (demo["services_only"], demo["services_host"]) == (True, "0.0.0.0")
    program, *health = SERVICES["request-callout"]["healthcheck"]["test"][1:]
    assert program == "request-callout"
    parse(health, {"REQUEST_CALLOUT_SOCKET": SOCKET})


def test_its_build_arguments_are_those_of_the_dockerfile() -> None:
    """Every build argument is one that the Dockerfile knows."""
    known = {text.split("=")[0] for stage in dockerfile.read()[1] for text in stage.all("ARG")}
    assert set(SERVICES["request-callout"]["build"]["args"]) <= known


def test_kong_yml_names_services_of_the_file_only() -> None:
    """Hosts are services, at the ports of the stand-ins; the vault's variables are in Kong's environment."""
    text = KONG_YML.read_text(encoding="utf-8")
    given = SERVICES["kong"]["environment"]
    found = re.findall(r"http://([\w-]+):(\d+)", text + given["TOKEN_URL"])
    assert {host for host, _ in found} == {"demo"}
    assert {int(port) for _, port in found} <= set(FIXED_PORTS.values())
    assert set(re.findall(r"host: (\S+)", text)) == {"redis"}
    assert "redis" in SERVICES
    references = set(re.findall(r"\{vault://env/([\w-]+)\}", text))
    assert {reference.upper().replace("-", "_") for reference in references} <= set(given)


def test_the_routes_answer_as_promised(tmp_path: Path) -> None:
    """With the stand-ins and a Redis at other addresses: the aggregate, the token, and one token for two requests."""
    with StandIns() as stand_ins, running() as redis:

        def here(text: str) -> str:
            for name, port in FIXED_PORTS.items():
                text = text.replace(f"http://demo:{port}", stand_ins.addresses[name])
            return text.replace("host: redis", f"host: {HOST}").replace("port: 6379", f"port: {redis.port}")

        configuration = tmp_path / "kong.yml"
        configuration.write_text(here(KONG_YML.read_text(encoding="utf-8")), encoding="utf-8")
        variables = {name: here(value) for name, value in SERVICES["kong"]["environment"].items()}
        with GatewayProcess(configuration, (), variables) as gateway:
            asked = [
                requests.get(f"{gateway.proxy}{path}", timeout=30).json()
                for path in ("/callout-aggregate", "/callout-auth", "/redis-cache", "/redis-cache")
            ]
        fetched = [call for call in stand_ins.take_arrivals() if call.service == "auth"]
    aggregate, injected, first, second = asked
    assert set(aggregate) == {"uuid", "origin"}
    assert aggregate["origin"] == f"{stand_ins.addresses['httpbin']}/anything"
    tokens = [answer["headers"]["Authorization"] for answer in (injected, first, second)]
    assert [yaml.safe_load(call.answer)["access_token"] for call in fetched] == [
        token.removeprefix("Bearer ") for token in tokens[:2]
    ]
    assert tokens[1] == tokens[2]
