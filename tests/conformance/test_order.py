"""The sequence of the callouts, and what runs side by side."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance.callee import BRIEFLY_S, PATIENCE_S, Reply, reply_json
from tests.conformance.site import Site, callout


def together(*paths: str, site: Site) -> None:
    """Let the callee answer on these paths only when all of them were asked; otherwise 500."""
    barrier = threading.Barrier(len(paths))

    def answer(_: object) -> Reply:
        try:
            barrier.wait(PATIENCE_S)
        except threading.BrokenBarrierError:
            return Reply(500)
        return reply_json({"id": 7})

    for path in paths:
        site.callee.on(path, answer)


def overtaken(first: str, second: str, site: Site) -> Callable[[], bool]:
    """Let ``first`` wait a moment for ``second`` before it answers; gives back whether that came meanwhile."""
    seen: list[bool] = []

    def wait() -> None:
        seen.append(site.callee.arrived(second, within_s=BRIEFLY_S))

    site.callee.on(first, reply_json({"id": 7, "path": second}, hold=wait))
    return lambda: seen[0]


def strict(name: str, path: str, **request: Any) -> dict[str, Any]:
    """A callout for which any status but 2xx is an error."""
    return callout(name, path, decode=True, error={"http_statuses": [500]}, **request)


def test_sequence_is_topological_and_keeps_the_order_of_the_configuration(site: Site) -> None:
    """Again and again the first callout of the configuration whose depends_on have all been taken."""
    trace = 'kong.ctx.shared.order = (kong.ctx.shared.order or "") .. "{}"'
    site.configure(
        [
            callout("a", "/a", by_lua=trace.format("a"), depends_on=["c"]),
            callout("b", "/b", by_lua=trace.format("b")),
            callout("c", "/c", by_lua=trace.format("c")),
            callout("d", "/d", by_lua=trace.format("d")),
        ],
        upstream={"headers": {"custom": {"X-Order": "$(shared.order)"}}},
    )
    site.get()
    assert site.upstream.one().header("X-Order") == "bcad"
    assert [request.path for request in site.callee.received()] == ["/b", "/c", "/a", "/d"]


def test_names_are_unique(site: Site) -> None:
    """Two callouts of the same name make the configuration unusable: 500, and the log names them."""
    text = site.unusable([callout("twice", "/a"), callout("twice", "/b")])
    assert not site.gateway.embedded or "twice" in text


def test_unknown_dependency_is_refused(site: Site) -> None:
    """A name in depends_on that is no callout's makes the configuration unusable."""
    text = site.unusable([callout("a", "/a", depends_on=["nobody"])])
    assert not site.gateway.embedded or "nobody" in text


def test_cycle_is_refused_and_shown(site: Site) -> None:
    """A cycle of dependencies makes the configuration unusable, and the message shows the cycle."""
    text = site.unusable(
        [
            callout("a1", "/a", depends_on=["b2"]),
            callout("b2", "/b", depends_on=["c3"]),
            callout("c3", "/c", depends_on=["a1"]),
        ]
    )
    if site.gateway.embedded:
        assert re.search("([abc][123]).+([abc][123]).+([abc][123]).+\\1", text), "from one name around to the same"


def test_no_callouts(site: Site) -> None:
    """With callouts: [] only the upstream part acts."""
    site.configure([], upstream={"headers": {"custom": {"X-Only": "upstream"}}})
    assert site.get().status == 200
    assert site.upstream.one().header("X-Only") == "upstream"
    assert not site.callee.received()


def test_independent_callouts_run_side_by_side(site: Site) -> None:
    """Callouts that do not depend on each other are in flight at the same time."""
    together("/a", "/b", "/c", site=site)
    site.configure([strict("a", "/a"), strict("b", "/b"), strict("c", "/c")])
    assert site.get().status == 200


def test_depends_on_is_waited_for(site: Site) -> None:
    """A callout with depends_on is sent after those have answered."""
    early = overtaken("/a", "/b", site)
    site.configure([callout("a", "/a"), callout("b", "/b", depends_on=["a"])])
    assert site.get().status == 200
    assert not early()
    assert site.callee.arrived("/b")


@pytest.mark.parametrize(
    "expression",
    [
        "callouts.a.response.body.id",
        'callouts["a"].response.body.id',
        "kong.ctx.shared.callouts.a.response.body.id",
        "shared.callouts.a.response.body.id",
        'kong.ctx.shared["callouts"]["a"].response.body.id',
    ],
)
def test_dependency_is_inferred_from_an_expression(site: Site, expression: str) -> None:
    """An expression that names callouts.A, in any of its spellings, makes its callout depend on A."""
    early = overtaken("/a", "/b", site)
    site.configure([callout("a", "/a", decode=True), callout("b", "/b", query={"custom": {"id": f"$({expression})"}})])
    assert site.get().status == 200
    assert not early()
    assert site.callee.one("/b").query == "id=7"


@pytest.mark.parametrize(
    "request_",
    [
        {"headers": {"custom": {"X-Id": "$(callouts.a.response.body.id)"}}},
        {"body": {"custom": {"id": "$(callouts.a.response.body.id)"}}},
        {"error": {"error_response_msg": "$(callouts.a.response.body.id)"}},
    ],
    ids=["headers", "body", "error_response_msg"],
)
def test_dependency_is_inferred_in_every_field(site: Site, request_: dict[str, Any]) -> None:
    """Expressions count wherever they stand: in headers, body and error_response_msg too."""
    early = overtaken("/a", "/b", site)
    site.configure([callout("a", "/a", decode=True), callout("b", "/b", **request_)])
    assert site.get().status == 200
    assert not early()


def test_dependency_is_inferred_from_the_url(site: Site) -> None:
    """An expression in url makes its callout depend on what it names."""
    early = overtaken("/a", "/b", site)
    site.configure(
        [callout("a", "/a", decode=True), callout("b", f"{site.callee.url}$(callouts.a.response.body.path)")]
    )
    assert site.get().status == 200
    assert not early()
    assert site.callee.one("/b")


def test_naming_itself_adds_nothing(site: Site) -> None:
    """A callout whose expression names the callout itself does not wait for itself."""
    site.callee.on("/a", Reply(503))
    error = {"http_statuses": [503], "error_response_msg": "got $(callouts.a.response.status)"}
    site.configure([callout("a", "/a", error=error)])
    answer = site.get()
    assert (answer.status, answer.text) == (400, "got 503")


@pytest.mark.parametrize(
    "expression",
    ['callouts[headers["x-which"]].response.body.id', 'shared["call" .. "outs"].a.response.body.id'],
)
def test_use_that_names_no_callout_counts_as_all(site: Site, expression: str) -> None:
    """A use of callouts or shared that can't be resolved to a name depends on all callouts before."""
    early = overtaken("/a", "/b", site)
    site.configure([callout("a", "/a", decode=True), callout("b", "/b", query={"custom": {"id": f"$({expression})"}})])
    assert site.get(headers={"X-Which": "a"}).status == 200
    assert not early()
    assert site.callee.one("/b").query == "id=7"


def test_script_waits_for_all_before(site: Site) -> None:
    """A callout with a script waits for all callouts before it."""
    early = overtaken("/a", "/b", site)
    site.configure([callout("a", "/a"), callout("b", "/b", by_lua="local nothing = 1")])
    assert site.get().status == 200
    assert not early()


@pytest.mark.parametrize("place", ["request", "response"])
def test_all_after_a_script_wait_for_it(site: Site, place: str) -> None:
    """Callouts after one with a script, of the request or of the response, wait for it."""
    early = overtaken("/a", "/b", site)
    scripted = callout("a", "/a")
    scripted.setdefault(place, {})["by_lua"] = "local nothing = 1"
    site.configure([scripted, callout("b", "/b")])
    assert site.get().status == 200
    assert not early()


def test_unsafe_method_waits_for_all_before(site: Site) -> None:
    """A callout whose method is not GET, HEAD or OPTIONS waits for all before it."""
    early = overtaken("/a", "/b", site)
    site.configure([callout("a", "/a"), callout("b", "/b", method="POST")])
    assert site.get().status == 200
    assert not early()


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "get"])
def test_safe_methods_do_not_wait(site: Site, method: str) -> None:
    """GET, HEAD and OPTIONS, in any case, wait for nothing they do not name."""
    together("/a", "/b", site=site)
    site.configure([strict("a", "/a"), callout("b", "/b", method=method, error={"http_statuses": [500]})])
    assert site.get().status == 200


def test_given_dependencies_lift_the_barrier(site: Site) -> None:
    """With depends_on given, also as [], a callout with a script or an unsafe method waits for no others."""
    together("/a", "/b", "/c", site=site)
    site.configure(
        [
            strict("a", "/a"),
            strict("b", "/b", depends_on=[], by_lua="local nothing = 1"),
            strict("c", "/c", depends_on=[], method="POST"),
        ]
    )
    assert site.get().status == 200


def test_given_dependencies_keep_those_of_expressions(site: Site) -> None:
    """With depends_on: [] the names read in expressions still count."""
    early = overtaken("/a", "/b", site)
    query = {"custom": {"id": "$(callouts.a.response.body.id)"}}
    site.configure([callout("a", "/a", decode=True), callout("b", "/b", depends_on=[], query=query)])
    assert site.get().status == 200
    assert not early()
    assert site.callee.one("/b").query == "id=7"


def test_first_failure_of_the_sequence_is_answered(site: Site) -> None:
    """If several callouts fail, the client gets the answer of the first in the sequence, even if it fails last."""
    site.callee.on("/a", Reply(500, hold=lambda: site.callee.arrived("/b")))
    site.callee.on("/b", Reply(500))
    errors = [{"http_statuses": [500], "error_response_msg": f"{name} failed"} for name in "ab"]
    site.configure([callout("a", "/a", error=errors[0]), callout("b", "/b", error=errors[1])])
    answer = site.get()
    assert (answer.status, answer.text) == (400, "a failed")


def test_failure_waits_for_earlier_callouts_that_succeed(site: Site) -> None:
    """A failure is answered after the callouts before it have ended, if those succeed."""
    site.callee.on("/a", reply_json({}, hold=lambda: site.callee.arrived("/b")))
    site.callee.on("/b", Reply(500))
    site.configure(
        [callout("a", "/a"), callout("b", "/b", error={"http_statuses": [500], "error_response_msg": "b failed"})]
    )
    answer = site.get()
    assert (answer.status, answer.text) == (400, "b failed")
    assert not site.upstream.received()


def test_failure_ends_later_callouts_in_flight(site: Site) -> None:
    """A callout that fails is answered at once: later ones still in flight are not waited for."""
    answered = threading.Event()
    site.callee.on("/a", Reply(500, hold=lambda: site.callee.arrived("/b")))
    site.callee.on("/b", Reply(200, hold=lambda: answered.wait(PATIENCE_S)))
    site.configure(
        [callout("a", "/a", error={"http_statuses": [500], "error_response_msg": "a failed"}), callout("b", "/b")]
    )
    late = threading.Timer(PATIENCE_S / 2, answered.set)
    late.start()
    answer = site.get()
    at_once = not answered.is_set()
    answered.set()
    late.cancel()
    assert (answer.status, answer.text) == (400, "a failed")
    assert at_once
