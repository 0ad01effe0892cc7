"""`nanogpt sample`."""


def sample_command() -> None:
    """To be written."""
