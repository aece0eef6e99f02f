"""gpunet."""
