"""`gpunet.functional` under the name that PyTorch users look for."""

from gpunet.functional import *  # noqa: F403
from gpunet.functional import __all__ as __all__
