"""The experiment, once for all backends."""
