"""The plugin server: a supervisor and its workers.

``supervisor`` binds the socket (``sockets``), forks workers, and keeps the configurations that Kong has started
(``registry``); it does without gevent. A ``worker`` accepts connections (``acceptor``) and answers Kong's commands on
them (``protobuf``, ``msgpack``) by its ``instances``. ``control`` is what both say to each other.
"""
