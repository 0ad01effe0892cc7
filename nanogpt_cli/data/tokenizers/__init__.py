"""Text to ids and back: every kind of tokenizer, its file, and how `--tokenizer` makes one."""
