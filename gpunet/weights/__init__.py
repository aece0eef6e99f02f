"""Weights in files: reading those of PyTorch and others, without running anything in them; fitting them to a model."""

from gpunet.weights.model_file import (
    Comparison,
    Weights,
    bytes_of,
    compare_weights,
    load_weights,
    read_weights,
    save_weights,
    weights_bytes,
)

__all__ = [
    "Comparison",
    "Weights",
    "bytes_of",
    "compare_weights",
    "load_weights",
    "read_weights",
    "save_weights",
    "weights_bytes",
]
