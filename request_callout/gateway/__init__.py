"""The embedded gateway: Kong's behaviour for trying out and for tests."""
