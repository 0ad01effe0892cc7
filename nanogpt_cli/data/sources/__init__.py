"""Sources: where text comes from."""
