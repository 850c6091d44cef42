"""The Kong PDK over a wire protocol: codecs, queued writes, gathered reads."""
