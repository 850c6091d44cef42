"""Stores for callout responses, and the key they are kept under."""
