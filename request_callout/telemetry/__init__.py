"""What operators see of requests: metrics, spans, traces. Each follows the engine by ``engine.observing``."""
