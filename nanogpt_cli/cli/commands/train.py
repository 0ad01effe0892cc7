"""`nanogpt train`."""


def train_command() -> None:
    """To be written."""
