"""Real servers that the tests start themselves, on free loopback ports."""
