"""The plugin server process: sockets, instances, protocols.

``ProtobufServer`` and ``msgpack.MsgpackServer`` answer Kong on accepted connections, ``process.run`` listens and ends
in good order. All of it runs on gevent; the command ``serve`` patches the standard library first.
"""
