"""`python -m echobench`."""

from echobench.cli import main

main()
