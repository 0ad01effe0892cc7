"""One small file per architecture, named after its Hugging Face `model_type`."""
