"""`nanogpt eval`."""


def eval_command() -> None:
    """To be written."""
