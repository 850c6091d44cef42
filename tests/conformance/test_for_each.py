"""One call for each element of a list."""

from __future__ import annotations

import threading
from typing import Any

from tests.conformance.callee import PATIENCE_S, Received, Reply, reply_json
from tests.conformance.site import Site, callout


def each(items: str, url: str, *, limits: dict[str, int] | None = None, **parts: Any) -> dict[str, Any]:
    """A callout ``each`` for each of these."""
    return {**callout("each", url, decode=True, **parts), "for_each": {"items": items, **(limits or {})}}


def products(site: Site, *ids: int) -> dict[str, Any]:
    """A callout that lists products of these ids, each of which has an answer of its own."""
    site.callee.on("/list", reply_json({"products": [{"id": one} for one in ids]}))
    for one in ids:
        site.callee.on(f"/p/{one}", reply_json({"price": 10 * one}))
    return callout("list", "/list", decode=True)


def test_results_stand_in_the_order_of_the_list(site: Site) -> None:
    """Each element of another callout's body gets its own call; the results are under response.items, in order."""
    listed = products(site, 3, 1, 2)
    site.configure([listed, each("$(callouts.list.response.body.products)", "/p/$(item.id)?n=$(index)")], witness=True)
    items = site.get().json["each"]["response"]["items"]
    assert [(one["status"], one["body"]["price"]) for one in items] == [(200, 30), (200, 10), (200, 20)]
    assert sorted(one.target for one in site.callee.received()) == ["/list", "/p/1?n=2", "/p/2?n=3", "/p/3?n=1"]


def test_the_list_may_be_the_clients(site: Site) -> None:
    """The list may come from the client's body."""
    for one in (1, 2):
        site.callee.on(f"/p/{one}", reply_json({"price": 10 * one}))
    upstream = {"headers": {"custom": {"X-P": "$(callouts.each.response.items[2].body.price)"}}}
    site.configure([each("$(kong.request.get_body().ids)", "/p/$(item)")], upstream=upstream)
    assert site.post_json({"ids": [1, 2]}).status == 200
    assert site.upstream.one().header("X-P") == "20"


def test_elements_are_called_side_by_side_within_the_limit(site: Site) -> None:
    """As many calls as ``concurrency`` says are in flight at once, and no more."""
    together, now, most = threading.Barrier(2), [0], [0]
    lock = threading.Lock()

    def answer(_: Received) -> Reply:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        try:
            together.wait(PATIENCE_S)
        finally:
            with lock:
                now[0] -= 1
        return reply_json({})

    for place in range(1, 5):
        site.callee.on(f"/p/{place}", answer)
    site.configure([each("$({1, 2, 3, 4})", "/p/$(item)", limits={"concurrency": 2})])
    assert site.get().status == 200
    assert most == [2]


def test_a_failed_element_answers_the_client(site: Site) -> None:
    """Under the policy ``fail`` the first of the list that fails makes the answer, with the element in its message."""
    listed = products(site, 1, 2, 3)
    site.callee.on("/p/4", Reply(503))
    error = {"http_statuses": [503], "error_response_code": 502, "error_response_msg": "no price for $(item)"}
    site.configure([listed, each("$({1, 4, 3})", "/p/$(item)", error=error)])
    answer = site.get()
    assert (answer.status, answer.text) == (502, "no price for 4")


def test_failed_elements_may_be_gone_without(site: Site) -> None:
    """Under ``continue`` a failed element has its error at its place, and the others their responses."""
    listed = products(site, 1, 3)
    site.callee.on("/p/4", Reply(503, b"{}"))
    error = {"http_statuses": [503], "on_error": "continue"}
    site.configure([listed, each("$({1, 4, 3})", "/p/$(item)", error=error)], witness=True)
    one, two, three = site.get().json["each"]["response"]["items"]
    assert (one["body"]["price"], three["body"]["price"]) == (10, 30)
    assert (two["status"], two["error"]["reason"], two["error"]["http_code"]) == (503, "code", 503)


def test_no_elements_no_calls(site: Site) -> None:
    """For an empty list, and for none, nothing is sent; there is a list of results, without any."""
    upstream = {"headers": {"custom": {"X-N": "$(#callouts.each.response.items)"}}}
    for items in ("$({})", "$(nil)", "$(query_params.ids)"):
        site.configure([each(items, "/p/$(item)")], upstream=upstream)
        assert site.get().status == 200
        assert site.upstream.received()[-1].header("X-N") == "0"
    assert site.callee.received() == []


def test_too_many_elements_are_an_error(site: Site) -> None:
    """One more than ``max_items`` is an error of the callout, before anything is sent."""
    site.configure([each("$({1, 2, 3})", "/p/$(item)", limits={"max_items": 2})])
    assert site.get().status == 400
    assert site.callee.received() == []


def test_scripts_run_for_each_element(site: Site) -> None:
    """Scripts see the element as ``item`` and ``index`` of the context, and change its request and its response."""
    for one in ("a", "b"):
        site.callee.on(f"/p/{one}", reply_json({"v": one}))
    request_script = """
      local own = kong.ctx.shared.callouts.each
      own.request.params.url = own.request.params.url .. own.item
    """
    response_script = """
      local own = kong.ctx.shared.callouts.each
      own.response.body = own.response.body.v .. own.index
    """
    site.configure(
        [each("$({'a', 'b'})", "/p/", by_lua=request_script, response={"by_lua": response_script})], witness=True
    )
    assert [one["body"] for one in site.get().json["each"]["response"]["items"]] == ["a1", "b2"]


def test_elements_are_cached_one_by_one(site: Site) -> None:
    """What was fetched for one list is a hit for another."""
    products(site, 1, 2, 3)
    site.configure([each("$(kong.request.get_body())", "/p/$(item)")], cache={"strategy": "memory"})
    site.post_json([1, 2])
    site.post_json([2, 3])
    assert sorted(one.path for one in site.callee.received()) == ["/p/1", "/p/2", "/p/3"]
