"""`python -m nanogpt_cli`: the same command, for torchrun and for environments without scripts."""

from nanogpt_cli.cli.app import main

if __name__ == "__main__":
    main()
