"""Kong's protocol ProtoBuf:1 for external plugins as a codec without I/O, for both ends of a connection.

A connection carries frames; ``FrameDecoder`` cuts what arrives into them, ``frame`` makes one. Kong sends commands
(``RpcCall``), the server answers each with one ``RpcReturn``. Before the answer to ``HandleEvent`` the server may make
calls of the PDK:

- server: ``METHODS[name].encode_call(args)`` gives a call's two frames, ``.decode_result(frame)`` the value of its
  reply; ``END_OF_CALLS`` and the frame of the answer (``Done``) end the event. Calls may go out together before any
  reply.
- Kong: of each two frames the first is the method's name (``method(name)``; an empty one ends the calls) and the second
  its argument message: ``.decode_args(frame)``; the reply is ``frame(m.encode_result(value))``, for a result ``Empty``
  the value is None. ``kong.response.exit`` gets no reply: the connection is closed. ``as_kong_reads`` tells what Kong
  makes of a value it received (for the arguments of ``kong.ctx.shared.set``, ``set_header``, ...).

Arguments are tuples in the order of the Lua PDK, values as ``messages`` describes them. Malformed input raises
``FrameError``, a value of the wrong kind TypeError or ValueError.
"""

from __future__ import annotations

from request_callout.pdk.protobuf.frames import MAX_FRAME_BYTES, FrameDecoder, frame
from request_callout.pdk.protobuf.message import Message
from request_callout.pdk.protobuf.messages import RawBody
from request_callout.pdk.protobuf.methods import METHODS, Method, method
from request_callout.pdk.protobuf.rpc import (
    CloseInstance,
    Done,
    GetInstanceStatus,
    GetPluginInfo,
    GetPluginNames,
    HandleEvent,
    InstanceStatus,
    PluginInfo,
    PluginNames,
    RpcCall,
    RpcReturn,
    StartInstance,
    decode_call,
    decode_return,
    encode_call,
    encode_return,
)
from request_callout.pdk.protobuf.values import as_kong_reads
from request_callout.pdk.protobuf.wire import FrameError

END_OF_CALLS = frame(b"")
"""The frame that ends the calls of an event."""

__all__ = [
    "END_OF_CALLS",
    "MAX_FRAME_BYTES",
    "METHODS",
    "CloseInstance",
    "Done",
    "FrameDecoder",
    "FrameError",
    "GetInstanceStatus",
    "GetPluginInfo",
    "GetPluginNames",
    "HandleEvent",
    "InstanceStatus",
    "Message",
    "Method",
    "PluginInfo",
    "PluginNames",
    "RawBody",
    "RpcCall",
    "RpcReturn",
    "StartInstance",
    "as_kong_reads",
    "decode_call",
    "decode_return",
    "encode_call",
    "encode_return",
    "frame",
    "method",
]
