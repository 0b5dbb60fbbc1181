"""One study a file: the questions that the tutorial leaves open."""
