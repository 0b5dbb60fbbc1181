"""First-party executors, one a file; see `echobench.Executor`."""
