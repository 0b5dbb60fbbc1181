"""Whole distributions, as strangers write them: `tests/test_examples.py` installs and runs them."""

collect_ignore_glob = ["echobench-example-*"]
