"""Tests of echobench.machine."""
