"""The configuration: its shape (one JSON Schema), its checks, and the typed model that the engine works from."""
