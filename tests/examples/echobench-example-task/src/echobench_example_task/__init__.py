"""An example of a task for echobench."""
