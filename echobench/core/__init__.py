"""The experiment, written once for all backends: tasks, networks, training, the target."""
