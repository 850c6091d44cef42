"""The protocol's messages as Google's protobuf package has them, built from their definition in text."""

from __future__ import annotations

import re
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, empty_pb2, message_factory, struct_pb2

DEFINITIONS = """
KV { string k = 1; Value v = 2; }
Bool { bool v = 1; }
Int { int32 v = 1; }
Number { double v = 1; }
String { string v = 1; }
ByteString { bytes v = 1; }
ExitArgs { int32 status = 1; bytes body = 2; Struct headers = 3; }
RawBodyResult { oneof.result bytes content = 1; oneof.result string body_filepath = 2; oneof.result string error = 3; }
UriCapturesResult { repeated bytes unnamed = 1; map bytes named = 2; }
ServiceKey { string id = 1; }
CertificateKey { string id = 1; }
Route { string id = 1; int64 created_at = 2; int64 updated_at = 3; string name = 4; repeated string protocols = 5;
  repeated string methods = 6; repeated string hosts = 7; repeated string paths = 8; repeated string headers = 9;
  int32 https_redirect_status_code = 10; int32 regex_priority = 11; bool strip_path = 12; bool preserve_host = 13;
  repeated string snis = 14; repeated string sources = 15; repeated string destinations = 16; repeated string tags = 17;
  ServiceKey service = 18; }
Service { string id = 1; int64 created_at = 2; int64 updated_at = 3; string name = 4; int32 retries = 5;
  string protocol = 6; string host = 7; int32 port = 8; string path = 9; int32 connect_timeout = 10;
  int32 write_timeout = 11; int32 read_timeout = 12;
  repeated string tags = 13; CertificateKey client_certificate = 14; }
Target { string host = 1; int32 port = 2; }
ConsumerSpec { string id = 1; bool by_username = 2; }
Consumer { string id = 1; int64 created_at = 2; string username = 3; string custom_id = 4; repeated string tags = 5; }
AuthenticatedCredential { string id = 1; string consumer_id = 2; }
AuthenticateArgs { Consumer consumer = 1; AuthenticatedCredential credential = 2; }
CmdGetPluginNames { }
CmdGetPluginInfo { string name = 1; }
CmdStartInstance { string name = 1; bytes config = 2; }
CmdGetInstanceStatus { int32 instance_id = 1; }
CmdCloseInstance { int32 instance_id = 1; }
CmdHandleEvent { int32 instance_id = 1; string event_name = 2; }
RpcCall { int64 sequence = 1; oneof.call CmdGetPluginNames get_plugin_names = 31;
  oneof.call CmdGetPluginInfo get_plugin_info = 32; oneof.call CmdStartInstance start_instance = 33;
  oneof.call CmdGetInstanceStatus get_instance_status = 34; oneof.call CmdCloseInstance close_instance = 35;
  oneof.call CmdHandleEvent handle_event = 36; }
PluginNames { repeated string names = 1; }
PluginInfo { string name = 1; int64 updated_at = 2; int64 loaded_at = 3; repeated string phases = 4;
  string version = 5; int32 priority = 6; string schema = 7; }
InstanceStatus { string name = 1; int32 instance_id = 2; Value config = 3; int64 started_at = 4; }
RpcReturn { int64 sequence = 1; oneof.return PluginNames plugin_names = 31; oneof.return PluginInfo plugin_info = 32;
  oneof.return InstanceStatus instance_status = 33; }
"""

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
    "bool": _Field.TYPE_BOOL,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "double": _Field.TYPE_DOUBLE,
}
_GOOGLE = {"Value", "Struct", "ListValue"}


def _add_field(message: descriptor_pb2.DescriptorProto, label: str, kind: str, name: str, number: int) -> None:
    field = message.field.add(name=name, number=number, label=_Field.LABEL_OPTIONAL)
    if label == "map":
        entry = message.nested_type.add(name=f"{name.capitalize()}Entry")
        entry.options.map_entry = True
        _add_field(entry, "", "string", "key", 1)
        _add_field(entry, "", kind, "value", 2)
        field.label, field.type = _Field.LABEL_REPEATED, _Field.TYPE_MESSAGE
        field.type_name = f".kong.{message.name}.{entry.name}"
        return
    if label == "repeated":
        field.label = _Field.LABEL_REPEATED
    if label.startswith("oneof."):
        if not message.oneof_decl:
            message.oneof_decl.add(name=label.partition(".")[2])
        field.oneof_index = 0
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = _Field.TYPE_MESSAGE
        field.type_name = f".google.protobuf.{kind}" if kind in _GOOGLE else f".kong.{kind}"


def _build() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="kong.proto", package="kong", syntax="proto3", dependency=["google/protobuf/struct.proto"]
    )
    for name, body in re.findall(r"(\w+) \{([^}]*)\}", DEFINITIONS):
        message = file.message_type.add(name=name)
        for line in body.split(";"):
            if line.strip():
                declared, number = line.split("=")
                *label, kind, field = declared.split()
                _add_field(message, label[0] if label else "", kind, field, int(number))
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(struct_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    names = [f"kong.{message.name}" for message in file.message_type]
    names += [f"google.protobuf.{name}" for name in _GOOGLE]
    classes = {
        name.rpartition(".")[2]: message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in names
    }
    return classes | {"Empty": empty_pb2.Empty}


MESSAGES = _build()


def parse(name: str, data: bytes) -> Any:
    """The message that Google's package reads."""
    message = MESSAGES[name]()
    message.ParseFromString(data)
    return message


def plain(message: Any) -> Any:
    """A Value, Struct or ListValue of Google's package as plain values; integral numbers as int."""
    kind = message.DESCRIPTOR.name
    if kind == "Struct":
        return {name: plain(member) for name, member in message.fields.items()}
    if kind == "ListValue":
        return [plain(element) for element in message.values]
    field = message.WhichOneof("kind")
    if field in (None, "null_value"):
        return None
    content = getattr(message, field)
    if field in ("struct_value", "list_value"):
        return plain(content)
    return int(content) if field == "number_value" and content == int(content) else content


def value_message(kind: str, value: Any) -> Any:
    """A Value, Struct or ListValue of Google's package for plain values."""
    message = MESSAGES[kind]()
    _fill(message, value)
    return message


def _fill(message: Any, value: Any) -> None:
    kind = message.DESCRIPTOR.name
    if kind == "Struct":
        for name, member in value.items():
            _fill(message.fields[name], member)
    elif kind == "ListValue":
        for element in value:
            _fill(message.values.add(), element)
    elif value is None:
        message.null_value = 0
    elif isinstance(value, bool):
        message.bool_value = value
    elif isinstance(value, (int, float)):
        message.number_value = value
    elif isinstance(value, str):
        message.string_value = value
    else:
        target = message.struct_value if isinstance(value, dict) else message.list_value
        target.SetInParent()
        _fill(target, value)
