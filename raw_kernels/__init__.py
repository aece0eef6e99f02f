"""CUDA C sources, loaded as text by `gpunet.backend.kernels`. This file makes the folder a package."""
