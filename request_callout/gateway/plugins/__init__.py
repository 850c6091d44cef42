"""The plugins that the gateway runs: the external one and the three bundled ones that its tests need."""
