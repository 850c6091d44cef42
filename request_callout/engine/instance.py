"""The process-wide engine, and one configuration of the plugin made ready to handle events."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from gevent.pool import Group

from request_callout.cache.flights import Flights
from request_callout.cache.memory import MemoryStores
from request_callout.cache.redis import RedisStores
from request_callout.cache.store import CachedResponse, Lease, OwnLease, Store
from request_callout.config import load
from request_callout.config.model import Cache, Configuration
from request_callout.config.problems import InvalidConfiguration, Problem
from request_callout.config.settings import Settings
from request_callout.engine.answer import INTERNAL_ERROR
from request_callout.engine.auth.fetching import fetch_token
from request_callout.engine.auth.tokens import Tokens
from request_callout.engine.cache_policy import Outcome
from request_callout.engine.circuits import Circuits
from request_callout.engine.compiled import compile_callout, compile_upstream
from request_callout.engine.kong import Kong
from request_callout.engine.observing import Observer, Watch
from request_callout.engine.plan import make_plan
from request_callout.engine.redaction import Redaction
from request_callout.engine.run import handle
from request_callout.engine.stack import stack
from request_callout.lua import Lua
from request_callout.transport import Sender, Transport

_log = logging.getLogger(__name__)

_REMINDER_PAUSE_S = 60.0


class Engine:
    """What all configurations of a process share: LuaJIT, connections, caches.

    ``clock`` gives moments of ``time.time()``, by which cached responses get old. ``flights`` are the callouts that
    others may wait for, ``background`` the refreshes that no request waits for, ``tokens`` what callouts are
    authorized with. ``circuits`` tell which targets keep failing. ``observers`` follow all requests. ``transport``
    sends what goes out, if it is not to be the HTTP client of the settings.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float] | None = None,
        observers: Sequence[Observer] = (),
        transport: Sender | None = None,
    ) -> None:
        self.observers = tuple(observers)
        self.watch: Watch | None = None
        self.settings = settings
        self.clock = clock or time.time
        self.flights: Flights[Outcome] = Flights()
        self.circuits = Circuits()
        self.background = Group()
        self.tokens = Tokens(partial(fetch_token, self), clock or time.monotonic)
        self.lua = Lua(settings.lua)
        self.transport: Sender = transport or Transport(settings.transport)
        self.user_agent = (
            f"kong/{settings.kong_version}/request-callout" if settings.kong_version else "kong/request-callout"
        )
        self._memory = MemoryStores(settings.memory_cache_bytes, settings.memory_cache_entries, clock or time.monotonic)
        self._redis = RedisStores(settings.transport.ca_file)

    def instance(self, raw: Mapping[str, Any]) -> Instance | BrokenInstance:
        """Make a configuration as Kong sends it ready to run; a bad one gives an instance that answers 500."""
        try:
            config = load(raw, self.lua.check)
        except InvalidConfiguration as error:
            return BrokenInstance(error.problems, str(raw.get("__plugin_id", "?")), self)
        return Instance(self, config)

    def follow(self, watch: Watch) -> None:
        """Let this watch follow what belongs to no one request."""
        self.watch = watch
        self.circuits.told = watch.circuit
        self._redis.watch = watch

    def store(self, cache: Cache) -> Store:
        """Where responses are kept for a configuration of the cache."""
        if cache.strategy == "redis":
            return self._redis.of(cache.redis)
        return self._memory.named(cache.dictionary_name)

    def close(self) -> None:
        """End what runs in the background and close connections; to be called when no event is in flight."""
        self.background.kill()
        for observer in self.observers:
            observer.close()
        self.tokens.close()
        self.transport.close()
        self._redis.close()


class Instance:
    """One valid configuration; ``deadline_ms`` bounds all callouts of a request."""

    problems: tuple[Problem, ...] = ()

    def __init__(self, engine: Engine, config: Configuration) -> None:
        self.engine = engine
        self.config = config
        # The name of the plugin's own route, for the log, and until when it is believed (``time.monotonic()``).
        self.route: str | None = None
        self.route_until = 0.0
        self.deadline_ms = config.deadline_ms or engine.settings.deadline_ms
        strategy = config.cache.strategy
        callouts = [compile_callout(callout, place, engine.lua) for place, callout in enumerate(config.callouts, 1)]
        self.upstream = compile_upstream(config.upstream, engine.lua)
        self._redaction = Redaction(config.secrets)
        self.plan = make_plan(config, callouts, self.upstream)
        observed = bool(engine.observers)
        self.stacks = {one.name: stack(one, config.cache, self.redact, observed=observed) for one in callouts}
        self.store: Store = engine.store(config.cache) if strategy != "off" else _NoStore()

    def access(self, kong: Kong) -> None:
        """Handle one event; raises nothing but ConnectionLost."""
        handle(self, kong)

    def redact(self, line: str) -> str:
        """A text for a log: without the configuration's secrets, and on one line whatever is in it."""
        return self._redaction.line(line)

    def without_secrets(self, text: str) -> str:
        """A text without the configuration's secrets, on as many lines as it has."""
        return self._redaction.text(text)


class BrokenInstance:
    """A configuration that can't be used: every event is answered with 500, and the log says why."""

    def __init__(self, problems: tuple[Problem, ...], plugin_id: str, engine: Engine) -> None:
        self.problems = problems
        self._engine = engine
        self._plugin_id = plugin_id
        self._reminded_at = float("-inf")

    def access(self, kong: Kong) -> None:
        """Answer 500; the reasons are logged at most once a minute."""
        now = time.monotonic()
        if now - self._reminded_at >= _REMINDER_PAUSE_S:
            self._reminded_at = now
            for problem in self.problems:
                _log.error("plugin %s has a bad configuration: %s", self._plugin_id, problem)
        if self._engine.watch is not None:
            self._engine.watch.misconfigured(self._plugin_id)
        kong.exit(INTERNAL_ERROR.status, INTERNAL_ERROR.body, INTERNAL_ERROR.headers)


class _NoStore:
    """A store that keeps nothing."""

    shared = False

    def get(self, key: str) -> CachedResponse | None:
        return None

    def put(self, key: str, response: CachedResponse, ttl_s: float) -> None:
        """Forget it."""

    def lease(self, key: str, lease_s: float) -> Lease | None:
        return OwnLease()
