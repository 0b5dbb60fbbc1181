"""First-party executors, one a file; see `echobench.plugin.executor`."""
