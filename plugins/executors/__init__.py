"""First-party executors, one a file; see `echobench.executor`."""
