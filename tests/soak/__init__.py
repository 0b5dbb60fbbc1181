"""Harnesses killed at random moments, and loaded for long: `make soak`, `make load`."""
