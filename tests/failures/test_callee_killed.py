"""What clients and the upstream see when the service that callouts call dies in the middle of load."""

from __future__ import annotations

import time

from request_callout.cli.demo.process import GatewayProcess
from tests.conformance.callee import Callee
from tests.failures.stage import BACK_WITHIN_S, CLIENTS, TokenService, load, passed_with_callouts


def test_killed_callee(gateway: GatewayProcess, tokens: TokenService, upstream: Callee) -> None:
    """Without the callouts' service nothing passes; two seconds after it listens again there is service."""
    with load(gateway.proxy) as clients:
        for _ in range(3):
            clients.wait_for(200, 100, began_after_s=time.monotonic())
            tokens.kill()
            killed_at = time.monotonic()
            clients.wait_for(500, CLIENTS, began_after_s=killed_at)
            started_at = time.monotonic()
            tokens.start()
            there_at = time.monotonic()
            back = clients.wait_for(200, 1, began_after_s=killed_at)
            meanwhile = [one for one in clients.answers if killed_at < one.began_s and one.ended_s < started_at]
            assert {one.status for one in meanwhile} == {500}
            assert back.ended_s - there_at < BACK_WITHIN_S
            print(f"service {back.ended_s - there_at:.3f} s after the callee listened")
        clients.wait_for(200, 100, began_after_s=time.monotonic())
    assert clients.statuses() == {200, 500}
    assert passed_with_callouts(upstream, clients.answers) >= 400
