"""`gpunet.data` under the name that PyTorch users look for."""

from gpunet.data import *  # noqa: F403
from gpunet.data import __all__ as __all__
