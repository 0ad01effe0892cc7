"""`nanogpt prepare`."""


def prepare_command() -> None:
    """To be written."""
