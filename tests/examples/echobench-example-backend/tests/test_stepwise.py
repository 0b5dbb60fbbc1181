"""The backend keeps the rules."""

from echobench.testing import assert_backend


def test_it_keeps_the_rules() -> None:
    assert_backend("jax-stepwise")
