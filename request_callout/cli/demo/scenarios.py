"""The documents' scenarios: the configurations as they stand there, the requests, and what is promised of each.

The configurations name the services of the internet; ``Scenario.configuration`` puts the addresses of the stand-ins
in their place and changes nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import yaml

from request_callout.cli.demo import documents, promises
from request_callout.cli.demo.promises import Promise, Run

HOSTS: Mapping[str, str] = {
    "http://httpbin.org": "httpbin",
    "https://jsonplaceholder.typicode.com": "jsonplaceholder",
    "https://run.mocky.io": "mocky",
    "http://upstream.example": "upstream",
}
"""Which stand-in takes the place of which service."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario of a document.

    ``plugins`` has the plugin configuration (YAML) of each route by its path; ``paths`` are requested in this order.
    ``example`` names the folder in ``examples/`` that holds the same configuration as a file. ``hosts`` replaces
    entries of HOSTS.
    """

    title: str
    document: str
    example: str
    plugins: Mapping[str, str]
    paths: tuple[str, ...]
    check: Callable[[Run], Iterator[Promise]]
    upstream: str = "http://upstream.example"
    hosts: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    def configuration(self, path: str, addresses: Mapping[str, str]) -> str:
        """The plugin configuration of the route ``path``, as YAML, with the stand-ins' addresses."""
        return self._local(self.plugins[path], addresses)

    def service(self, addresses: Mapping[str, str]) -> str:
        """The URL of the upstream service."""
        return self._local(self.upstream, addresses)

    @property
    def upstream_stand_in(self) -> str:
        """The name of the stand-in that is the upstream."""
        return next(name for url, name in HOSTS.items() if self.upstream.startswith(url))

    def _local(self, text: str, addresses: Mapping[str, str]) -> str:
        for url, name in {**HOSTS, **self.hosts}.items():
            text = text.replace(url, addresses[name])
        return text


def declarative(scenarios: tuple[Scenario, ...], addresses: Mapping[str, str]) -> str:
    """A declarative configuration of Kong that holds all scenarios, one service and one or more routes for each."""
    services = []
    for scenario in scenarios:
        routes = [
            {
                "name": f"{path.strip('/')}-route",
                "paths": [path],
                "plugins": [yaml.safe_load(scenario.configuration(path, addresses))],
            }
            for path in scenario.plugins
        ]
        name = next(iter(scenario.plugins)).strip("/")
        services.append({"name": name, "url": scenario.service(addresses), "routes": routes})
    vaults = [{"name": "env", "prefix": "kcsvault", "config": {"prefix": "kcs_"}}]
    document = {"_format_version": "3.0", "vaults": vaults, "services": services}
    return yaml.safe_dump(document, sort_keys=False)


TUTORIAL = "the orchestration tutorial"
OVERVIEW = "the plugin's overview"

SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        title="Aggregation",
        document=TUTORIAL,
        example="aggregation",
        plugins={"/callout-aggregate": documents.AGGREGATION},
        paths=("/callout-aggregate",),
        check=promises.aggregated,
    ),
    Scenario(
        title="Orchestration",
        document=TUTORIAL,
        example="orchestration",
        plugins={"/callout-orchestrate": documents.ORCHESTRATION},
        paths=("/callout-orchestrate",),
        check=promises.orchestrated,
    ),
    Scenario(
        title="Auth header injection",
        document=TUTORIAL,
        example="token-injection",
        plugins={"/callout-auth": documents.AUTH_INJECTION},
        paths=("/callout-auth",),
        check=promises.token_injected,
        upstream="http://httpbin.org/get",
        note="The vault kcsvault is the environment, with the prefix KCS_.",
    ),
    Scenario(
        title="A token for the upstream",
        document=OVERVIEW,
        example="token-injection",
        plugins={"/token": documents.AUTH_INSERT},
        paths=("/token?a=1&b=2",),
        check=promises.token_inserted,
    ),
    Scenario(
        title="Retry of a failed request",
        document=OVERVIEW,
        example="retry",
        plugins={"/retry": documents.RETRY},
        paths=("/retry",),
        check=promises.retried,
        hosts={"https://run.mocky.io": "flaky"},
        note="The token service answers 503 twice, then 200.",
    ),
    Scenario(
        title="Cached result",
        document=OVERVIEW,
        example="memory-cache",
        plugins={"/cache": documents.CACHE},
        paths=("/cache", "/cache"),
        check=promises.cached,
    ),
    Scenario(
        title="Request collapsing",
        document=OVERVIEW,
        example="request-collapsing",
        plugins={"/collapse": documents.COLLAPSING},
        paths=("/collapse",),
        check=promises.aggregated,
    ),
    Scenario(
        title="Cache key of one's own",
        document=OVERVIEW,
        example="custom-cache-key",
        plugins={"/cache-key": documents.CACHE_KEY, "/cache-key-look-up": documents.CACHE_KEY_LOOK_UP},
        paths=("/cache-key", "/cache-key-look-up"),
        check=promises.keyed,
        note=(
            "The document has strategy: redis here; this demo needs no Redis and uses memory. The key that a "
            "response's script sets is where the response is kept; a second route, whose request script sets the "
            "same key, finds it there."
        ),
    ),
)
