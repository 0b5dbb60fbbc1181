"""Records on disk: reading, appending, locking, merging, repairing and validating them."""
