"""Experiment trackers: TensorBoard, Weights & Biases, Trackio. Off unless asked for, and never in the way."""
