"""echobench's own plugins, loaded through entry points as everybody's are."""
