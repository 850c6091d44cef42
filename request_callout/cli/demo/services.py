"""Stand-ins on this machine for the services that the documents' examples call, and a record of what reached them.

Each service listens on a port of its own on the loopback interface; all of them run in one thread with one event loop.

===============  =====================================================================================
httpbin          ``/uuid``, ``/anything``, ``/get``, ``/post``, ``/headers``, ``/xml``, ``/status/N``, ``/delay/S``
jsonplaceholder  ``/users``, ``/users/N``, ``/posts``, ``/posts/N``, with filters such as ``?userId=1``
mocky            ``/v3/ID``: an answer with a token
auth             ``/oauth/token``: the client credentials grant (RFC 6749, section 4.4), form or JSON
flaky            ``/v3/ID`` like mocky, but of every three requests the first two get 503; ``/slow/S``: of every
                 two requests the first takes so many seconds
upstream         every path: the request, told back
===============  =====================================================================================
"""

from __future__ import annotations

import asyncio
import gzip
import threading
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import orjson
from aiohttp import BasicAuth, web
from aiohttp.typedefs import Middleware

from request_callout.cli.demo.placeholder import POSTS, SLIDES, USERS

FIXED_PORTS: Mapping[str, int] = {
    "httpbin": 18001,
    "jsonplaceholder": 18002,
    "mocky": 18003,
    "auth": 18004,
    "flaky": 18005,
    "upstream": 18006,
}
"""The ports that the files in ``examples/`` name."""

CLIENT_ID = "demo-client"
CLIENT_SECRET = "demo-secret"  # noqa: S105 - there is nothing behind it
MOCKY_TOKEN = "mocky-token-4711"  # noqa: S105
FAILURES_BEFORE_SUCCESS = 2

_MAX_DELAY_S = 10.0
_MAX_BODY_BYTES = 64 * 1024 * 1024

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request that reached a stand-in; moments are of ``time.monotonic()``, in seconds."""

    service: str
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    started_s: float
    ended_s: float
    status: int
    answer: bytes

    def header(self, name: str) -> str | None:
        """The first header of this name, in any case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")


def _multi(pairs: Iterable[tuple[str, str]]) -> dict[str, str | list[str]]:
    """Repeated names as lists, as httpbin shows arguments and forms."""
    values: dict[str, str | list[str]] = {}
    for name, value in pairs:
        known = values.get(name)
        if known is None:
            values[name] = value
        elif isinstance(known, list):
            known.append(value)
        else:
            values[name] = [known, value]
    return values


async def _anything(request: web.Request, *, leave_out: tuple[str, ...] = ()) -> web.Response:
    """The request as httpbin tells it: names of headers with capitals, repeated ones joined."""
    body = await request.read()
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        title = name.title()
        headers[title] = f"{headers[title]},{value}" if title in headers else value
    is_form = request.content_type == "application/x-www-form-urlencoded"
    try:
        decoded = orjson.loads(body) if body else None
    except orjson.JSONDecodeError:
        decoded = None
    text = body.decode("utf-8", "replace")
    told = {
        "args": _multi(request.query.items()),
        "data": "" if is_form else text,
        "form": _multi(parse_qsl(text, keep_blank_values=True)) if is_form else {},
        "headers": dict(sorted(headers.items())),
        "json": decoded,
        "method": request.method,
        "origin": request.headers.get("X-Forwarded-For", request.remote),
        "url": str(request.url),
    }
    return _json({name: value for name, value in told.items() if name not in leave_out})


async def _get(request: web.Request) -> web.Response:
    return await _anything(request, leave_out=("data", "form", "json", "method"))


async def _post(request: web.Request) -> web.Response:
    return await _anything(request, leave_out=("method",))


async def _headers(request: web.Request) -> web.Response:
    return await _anything(request, leave_out=("args", "data", "form", "json", "method", "origin", "url"))


async def _uuid(request: web.Request) -> web.Response:
    return _json({"uuid": str(uuid.uuid4())})


async def _xml(request: web.Request) -> web.Response:
    return web.Response(body=SLIDES, content_type="application/xml")


async def _status(request: web.Request) -> web.Response:
    return web.Response(status=int(request.match_info["status"]))


async def _delay(request: web.Request) -> web.Response:
    await asyncio.sleep(min(float(request.match_info["seconds"]), _MAX_DELAY_S))
    return await _anything(request, leave_out=("json", "method"))


async def _redirect_to(request: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": request.query.get("url", "/get")})


async def _gzip(request: web.Request) -> web.Response:
    told = {"gzipped": True, "method": request.method}
    coding = {"Content-Encoding": "gzip"}
    return web.Response(body=gzip.compress(orjson.dumps(told)), headers=coding, content_type="application/json")


def _httpbin() -> list[web.RouteDef]:
    return [
        web.get("/uuid", _uuid),
        web.get("/get", _get),
        web.post("/post", _post),
        web.get("/headers", _headers),
        web.get("/redirect-to", _redirect_to),
        web.get("/gzip", _gzip),
        web.route("*", "/xml", _xml),
        web.route("*", r"/anything{rest:.*}", _anything),
        web.route("*", r"/status/{status:[1-5]\d\d}", _status),
        web.route("*", r"/delay/{seconds:\d+(\.\d+)?}", _delay),
    ]


def _collection(name: str, items: tuple[dict[str, Any], ...]) -> list[web.RouteDef]:
    async def every(request: web.Request) -> web.Response:
        wanted = request.query.items()
        return _json([item for item in items if all(str(item.get(key)) == value for key, value in wanted)])

    async def one(request: web.Request) -> web.Response:
        number = int(request.match_info["number"])
        found = next((item for item in items if item["id"] == number), None)
        return _json({}, status=404) if found is None else _json(found)

    return [web.get(f"/{name}", every), web.get(rf"/{name}/{{number:\d+}}", one)]


def _jsonplaceholder() -> list[web.RouteDef]:
    return [*_collection("users", USERS), *_collection("posts", POSTS)]


async def _mocky_token(request: web.Request) -> web.Response:
    return _json({"token": MOCKY_TOKEN})


def _mocky() -> list[web.RouteDef]:
    return [web.get("/v3/{document}", _mocky_token)]


def _flaky() -> list[web.RouteDef]:
    seen: Counter[str] = Counter()

    async def answer(request: web.Request) -> web.Response:
        seen[request.path] += 1
        if seen[request.path] % (FAILURES_BEFORE_SUCCESS + 1):
            return _json({"error": "try again"}, status=503)
        return await _mocky_token(request)

    async def slow(request: web.Request) -> web.Response:
        seen[request.path] += 1
        if seen[request.path] % 2:
            await asyncio.sleep(min(float(request.match_info["seconds"]), _MAX_DELAY_S))
        return await _mocky_token(request)

    return [web.get("/v3/{document}", answer), web.get(r"/slow/{seconds:\d+(\.\d+)?}", slow)]


def _client(request: web.Request, fields: Mapping[str, Any]) -> tuple[Any, Any]:
    """Id and secret from the header or from the body (RFC 6749, section 2.3.1)."""
    try:
        given = BasicAuth.decode(request.headers["Authorization"])
    except (KeyError, ValueError):
        return fields.get("client_id"), fields.get("client_secret")
    return unquote_plus(given.login), unquote_plus(given.password)


async def _oauth_token(request: web.Request) -> web.Response:
    fields: Mapping[str, Any]
    try:
        if request.content_type == "application/json":
            fields = orjson.loads(await request.read())
        else:
            fields = dict(parse_qsl(await request.text()))
    except ValueError:
        return _json({"error": "invalid_request"}, status=400)
    if fields.get("grant_type") != "client_credentials":
        return _json({"error": "unsupported_grant_type"}, status=400)
    if _client(request, fields) != (CLIENT_ID, CLIENT_SECRET):
        return _json({"error": "access_denied", "error_description": "Unauthorized"}, status=401)
    token = f"access-{uuid.uuid4().hex}"
    return _json({"access_token": token, "token_type": "Bearer", "expires_in": 86400})


def _auth() -> list[web.RouteDef]:
    return [web.post("/oauth/token", _oauth_token)]


def _upstream() -> list[web.RouteDef]:
    return [web.route("*", r"/{rest:.*}", _anything)]


_SERVICES: Mapping[str, Callable[[], list[web.RouteDef]]] = {
    "httpbin": _httpbin,
    "jsonplaceholder": _jsonplaceholder,
    "mocky": _mocky,
    "auth": _auth,
    "flaky": _flaky,
    "upstream": _upstream,
}


class StandIns:
    """All stand-ins, running from ``with`` on; ``addresses`` has ``http://HOST:PORT`` for each name.

    ``ports`` names the ports to use (0 or absent: a free one), on the address ``host``. ``latency_s`` is waited before
    each answer of a callee (not of the upstream), so that a timeline shows what ran side by side. Entering raises
    OSError if a port is taken.
    """

    def __init__(
        self, ports: Mapping[str, int] | None = None, *, latency_s: float = 0.0, host: str = "127.0.0.1"
    ) -> None:
        self.addresses: dict[str, str] = {}
        self._host = host
        self._ports = ports or {}
        self._latency_s = latency_s
        self._arrivals: list[Arrival] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stand-ins", daemon=True)
        self._runners: list[web.AppRunner] = []

    def __enter__(self) -> StandIns:
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def take_arrivals(self) -> list[Arrival]:
        """What arrived since the last time this was called, in the order of arrival."""
        taken, self._arrivals = self._arrivals, []
        return sorted(taken, key=lambda arrival: arrival.started_s)

    async def _start(self) -> None:
        for name, routes in _SERVICES.items():
            application = web.Application(middlewares=[self._recorder(name)], client_max_size=_MAX_BODY_BYTES)
            application.add_routes(routes())
            runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
            self._runners.append(runner)
            await runner.setup()
            try:
                await web.TCPSite(runner, self._host, self._ports.get(name, 0)).start()
            except OSError as error:
                reason = error.strerror or error
                raise OSError(f"the stand-in {name} can't listen: {reason}; do the stand-ins run already?") from None
            self.addresses[name] = f"http://{self._host}:{runner.addresses[0][1]}"

    async def _stop(self) -> None:
        for runner in self._runners:
            await runner.cleanup()
        # Handlers whose clients have gone are not waited for by that; the loop must not stop before they have ended.
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _recorder(self, service: str) -> Middleware:
        latency_s = 0.0 if service == "upstream" else self._latency_s

        @web.middleware
        async def record(request: web.Request, handler: Handler) -> web.StreamResponse:
            started_s = time.monotonic()
            status = 500
            answer = b""
            body = await request.read()
            try:
                if latency_s:
                    await asyncio.sleep(latency_s)
                try:
                    response = await handler(request)
                except web.HTTPException as error:
                    response = _json({"error": error.reason}, status=error.status)
                status = response.status
                if isinstance(response, web.Response) and isinstance(response.body, bytes):
                    answer = response.body
                return response
            finally:
                # Recorded before the answer goes out, so whoever has the answer also sees the record.
                headers = tuple(
                    (name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers
                )
                ended_s = time.monotonic()
                self._arrivals.append(
                    Arrival(service, request.method, request.path_qs, headers, body, started_s, ended_s, status, answer)
                )

        return record
