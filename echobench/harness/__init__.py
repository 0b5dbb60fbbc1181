"""Processes and clocks: plan, launch, work."""
