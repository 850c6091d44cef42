"""The methods of the PDK on ProtoBuf: which message each takes and gives, as a table.

Arguments are tuples in the order of the Lua PDK; results are the values described in ``messages``. An absent scalar
in a result is given the meaning it has in Lua: nil where the function can return nil (``String?``, ``Int?``),
otherwise the empty text or 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from request_callout.pdk.protobuf.frames import frame
from request_callout.pdk.protobuf.message import Message
from request_callout.pdk.protobuf.messages import BY_NAME
from request_callout.pdk.protobuf.wire import FrameError

MAX_ARGS = 1000
"""The most headers or parameters that Kong gives, asked for unless a caller gives a number."""

_TABLE = """
kong.client.authenticate                AuthenticateArgs  Empty
kong.client.get_consumer                Empty             Consumer
kong.client.get_credential              Empty             AuthenticatedCredential
kong.client.get_forwarded_ip            Empty             String
kong.client.get_forwarded_port          Empty             Int
kong.client.get_ip                      Empty             String
kong.client.get_port                    Empty             Int
kong.client.get_protocol                Bool              String
kong.client.load_consumer               ConsumerSpec      Consumer
kong.ctx.shared.get                     String            Value
kong.ctx.shared.set                     KV                Empty
kong.ip.is_trusted                      String            Bool
kong.log.alert                          ListValue         Empty
kong.log.crit                           ListValue         Empty
kong.log.debug                          ListValue         Empty
kong.log.err                            ListValue         Empty
kong.log.info                           ListValue         Empty
kong.log.notice                         ListValue         Empty
kong.log.serialize                      Empty             String
kong.log.set_serialize_value            KV                Empty
kong.log.warn                           ListValue         Empty
kong.nginx.get_ctx                      String            Value
kong.nginx.get_subsystem                Empty             String
kong.nginx.get_tls1_version_str         Empty             String?
kong.nginx.get_var                      String            String?
kong.nginx.req_start_time               Empty             Number
kong.nginx.set_ctx                      KV                String?
kong.node.get_id                        Empty             String
kong.node.get_memory_stats              Empty             MemoryStats
kong.request.get_forwarded_host         Empty             String
kong.request.get_forwarded_port         Empty             Int
kong.request.get_forwarded_scheme       Empty             String
kong.request.get_header                 String            String?
kong.request.get_headers                Int               Struct
kong.request.get_host                   Empty             String
kong.request.get_http_version           Empty             Number
kong.request.get_method                 Empty             String
kong.request.get_path                   Empty             String
kong.request.get_path_with_query        Empty             String
kong.request.get_port                   Empty             Int
kong.request.get_query                  Int               Struct
kong.request.get_query_arg              String            String?
kong.request.get_raw_body               Empty             RawBodyResult
kong.request.get_raw_query              Empty             String
kong.request.get_scheme                 Empty             String
kong.request.get_uri_captures           Empty             UriCapturesResult
kong.response.add_header                KV                Empty
kong.response.clear_header              String            Empty
kong.response.exit                      ExitArgs          Empty
kong.response.get_header                String            String?
kong.response.get_headers               Int               Struct
kong.response.get_source                Empty             String
kong.response.get_status                Empty             Int
kong.response.set_header                KV                Empty
kong.response.set_headers               Struct            Empty
kong.response.set_status                Int               Empty
kong.router.get_route                   Empty             Route
kong.router.get_service                 Empty             Service
kong.service.request.add_header         KV                Empty
kong.service.request.clear_header       String            Empty
kong.service.request.set_header         KV                Empty
kong.service.request.set_headers        Struct            Empty
kong.service.request.set_method         String            Empty
kong.service.request.set_path           String            Empty
kong.service.request.set_query          Struct            Empty
kong.service.request.set_raw_body       ByteString        Empty
kong.service.request.set_raw_query      String            Empty
kong.service.request.set_scheme         String            Empty
kong.service.response.get_header        String            String?
kong.service.response.get_headers       Int               Struct
kong.service.response.get_raw_body      Empty             ByteString
kong.service.response.get_status        Empty             Int?
kong.service.set_target                 Target            Empty
kong.service.set_upstream               String            Bool
"""

_ABSENT: Mapping[str, Any] = {"String": "", "Int": 0, "Number": 0, "ByteString": b""}


@dataclass(frozen=True, slots=True)
class Method:
    """One function of the PDK: its messages, and what an absent scalar in its result stands for."""

    name: str
    argument: Message
    result: Message
    absent: Any
    name_frame: bytes

    def encode_args(self, args: Sequence[Any]) -> bytes:
        """The argument message. Raises TypeError or ValueError for arguments the function does not take."""
        return self.argument.encode(_PACK[self.argument.name](args))

    def decode_args(self, data: bytes) -> tuple[Any, ...]:
        """The arguments of an argument message (Kong's side)."""
        return _UNPACK.get(self.argument.name, _as_single)(self.argument.decode(data))

    def encode_result(self, value: Any) -> bytes:
        """The result message (Kong's side)."""
        return self.result.encode(value)

    def decode_result(self, data: bytes) -> Any:
        """The value of a result message."""
        value = self.result.decode(data)
        return self.absent if value is None else value

    def encode_call(self, args: Sequence[Any]) -> bytes:
        """The two frames of a call."""
        return self.name_frame + frame(self.encode_args(args))


def _nothing(_: Sequence[Any]) -> None:
    return None


def _one(args: Sequence[Any]) -> Any:
    if not args or args[0] is None:
        raise TypeError("an argument is missing")
    return args[0]


def _maximum(args: Sequence[Any]) -> Any:
    return MAX_ARGS if not args or args[0] is None else args[0]


def _flag(args: Sequence[Any]) -> bool:
    return bool(args and args[0])


def _pair(args: Sequence[Any]) -> tuple[Any, Any]:
    if len(args) > 2 and args[2] not in (None, {}, []):
        raise ValueError("options are not available on the ProtoBuf protocol")
    return _one(args), args[1] if len(args) > 1 else None


def _two(args: Sequence[Any]) -> tuple[Any, Any]:
    return (*args[:2], None, None)[:2]


def _exit(args: Sequence[Any]) -> tuple[Any, Any, Any]:
    return (*args[:3], None, None, None)[:3]


def _log(args: Sequence[Any]) -> list[Any]:
    # Kong would print a null as NULL_VALUE and false as nil.
    words = {None: "nil", True: "true", False: "false"}
    return [words[arg] if arg is None or isinstance(arg, bool) else arg for arg in args]


_PACK: Mapping[str, Callable[[Sequence[Any]], Any]] = {
    "Empty": _nothing,
    "String": _one,
    "ByteString": _one,
    "Struct": _one,
    "Int": _maximum,
    "Bool": _flag,
    "KV": _pair,
    "Target": _two,
    "ConsumerSpec": _two,
    "AuthenticateArgs": _two,
    "ExitArgs": _exit,
    "ListValue": _log,
}


def _as_single(value: Any) -> tuple[Any, ...]:
    return (value,)


_UNPACK: Mapping[str, Callable[[Any], tuple[Any, ...]]] = {
    "Empty": lambda _: (),
    "String": lambda value: (value or "",),
    "ByteString": lambda value: (value or b"",),
    "Int": lambda value: (value or 0,),
    "KV": tuple,
    "Target": tuple,
    "ConsumerSpec": tuple,
    "AuthenticateArgs": tuple,
    "ExitArgs": tuple,
    "ListValue": tuple,
}


def _methods() -> dict[str, Method]:
    table = {}
    for line in _TABLE.split("\n"):
        if line:
            name, argument, result = line.split()
            absent = None if result.endswith("?") else _ABSENT.get(result)
            table[name] = Method(name, BY_NAME[argument], BY_NAME[result.rstrip("?")], absent, frame(name.encode()))
    return table


METHODS: Mapping[str, Method] = _methods()
"""Every method of the protocol by its full name. Any other name ends the request with Kong's 500."""


def method(name: str) -> Method:
    """The method of this name. Raises FrameError for one that the protocol does not have."""
    try:
        return METHODS[name]
    except KeyError:
        raise FrameError(f"there is no method {name!r} in the protocol") from None
