"""kong-request-callout: API calls before a request is proxied, for any Kong Gateway."""

__version__ = "0.1.0"
