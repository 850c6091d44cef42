"""The plugin server process: sockets, instances, protocols."""
