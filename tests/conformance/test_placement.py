"""Where the plugin may stand, and when it runs."""

from __future__ import annotations

import pytest

from tests.conformance.site import Site, callout, function

CONSUMERS = [{"username": "ann", "keyauth_credentials": [{"key": "key-ann"}]}]
KEY = {"apikey": "key-ann"}


@pytest.mark.parametrize("scope", ["global", "service", "route", "consumer"])
def test_scopes(site: Site, scope: str) -> None:
    """The plugin works globally, on a service, on a route, for a consumer."""
    plugin = site.plugin([callout("a", "/a")])
    declaration = site.declaration([{"name": "key-auth"}], consumers=[dict(CONSUMERS[0])])
    places = {
        "global": declaration,
        "service": declaration["services"][0],
        "route": declaration["services"][0]["routes"][0],
        "consumer": declaration["consumers"][0],
    }
    place = places[scope]
    place["plugins"] = [*place.get("plugins", ()), plugin]
    site.load(declaration)
    # Globally it also runs on the route that tells when the configuration is in force.
    before = len(site.callee.received("/a"))
    assert site.get(headers=KEY).status == 200
    assert len(site.callee.received("/a")) == before + 1


def test_other_routes_are_left_alone(site: Site) -> None:
    """On a route the plugin runs for this route only."""
    other = {"name": f"other-{site.path[1:]}", "paths": [f"{site.path}-other"]}
    site.configure([callout("a", "/a")], routes=[other])
    assert site.get("-other").status == 200
    assert not site.callee.received()


def test_runs_after_authentication(site: Site) -> None:
    """It runs after authentication: without it no callout is made, with it the consumer is known."""
    site.configure(
        [callout("a", "/a", headers={"custom": {"X-Consumer": "$(kong.client.get_consumer().username)"}})],
        plugins=[{"name": "key-auth"}],
        consumers=CONSUMERS,
    )
    assert site.get().status == 401
    assert not site.callee.received()
    assert site.get(headers=KEY).status == 200
    assert site.callee.one().header("X-Consumer") == "ann"


def test_runs_between_pre_and_post_function(site: Site) -> None:
    """It runs in the access phase, after pre-function and before post-function, by its priority of 812."""
    site.configure(
        [callout("a", "/a", headers={"custom": {"X-Before": "$(shared.before)"}})],
        plugins=[
            function("kong.ctx.shared.before = tostring(kong.ctx.shared.callouts == nil)", "pre-function"),
            function("kong.response.exit(200, {after = kong.ctx.shared.callouts.a.response.status})"),
        ],
    )
    assert site.get().json == {"after": 200}
    assert site.callee.one().header("X-Before") == "true"


def test_plugin_that_answers_before_makes_callouts_needless(site: Site) -> None:
    """When an earlier plugin answers, no callout is made."""
    site.configure([callout("a", "/a")], plugins=[function("kong.response.exit(418)", "pre-function")])
    assert site.get().status == 418
    assert not site.callee.received()


def test_new_configuration_takes_the_place_of_the_old(site: Site) -> None:
    """After a change of configuration the new one is in force, and the old one is gone."""
    for path in ("/first", "/second", "/first"):
        site.configure([callout("a", path)])
        before = len(site.callee.received(path))
        assert site.get().status == 200
        assert len(site.callee.received(path)) == before + 1


def test_two_configurations_side_by_side(site: Site) -> None:
    """Two routes with the plugin each run their own configuration."""
    other = {"name": f"other-{site.path[1:]}", "paths": [f"{site.path}-other"]}
    declaration = site.declaration([site.plugin([callout("a", "/one")])], routes=[{**other, "plugins": []}])
    declaration["services"][0]["routes"][1]["plugins"] = [site.plugin([callout("a", "/two")])]
    site.load(declaration)
    for path in ("", "-other", ""):
        site.get(path)
    assert [request.path for request in site.callee.received()] == ["/one", "/two", "/one"]
