"""An example of a backend for echobench."""
