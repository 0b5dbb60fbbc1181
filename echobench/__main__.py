"""`python -m echobench`, and the command `echobench`."""

from echobench import interrupts


def main() -> None:
    """Run the command line."""
    interrupts.catch()  # before all that takes time
    from echobench import cli

    cli.main()


if __name__ == "__main__":
    main()
