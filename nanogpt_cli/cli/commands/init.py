"""`nanogpt init`."""


def init_command() -> None:
    """To be written."""
