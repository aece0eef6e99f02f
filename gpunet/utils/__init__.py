"""What PyTorch has in `torch.utils`, under the same names."""

from gpunet.utils import checkpoint, data

__all__ = ["checkpoint", "data"]
