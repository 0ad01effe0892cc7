"""From text to token files and back: tokenizers, sources, prepared datasets, batches. numpy, no torch."""
