"""`nanogpt explain-log`."""


def explain_log_command() -> None:
    """To be written."""
