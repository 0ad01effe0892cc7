"""PyTorch loaded once, by the commands that need it, and as fast as it can be."""

import gc


def load_torch() -> None:
    """Import torch: 1.0 s of processor time instead of 1.3, the end of the program counted in.

    Loading makes half a million objects that stay to the end. The garbage collector would look through them
    again and again while they are made, at every full collection, and once more at the exit: it is told not
    to. (torch 2.13, Python 3.11: 0.1 s of it while loading, 0.3 s at the exit.)
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        import torch  # noqa: F401
    finally:
        gc.freeze()
        if collecting:
            gc.enable()
