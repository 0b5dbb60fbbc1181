"""echobench's own plugins; they take the road of a stranger's."""
