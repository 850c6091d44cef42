"""Responses kept in Redis: one server, sentinels or a cluster."""

from request_callout.cache.redis.stores import RedisStores

__all__ = ["RedisStores"]
