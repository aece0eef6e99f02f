"""The functions that PyTorch has in its module itself: `gpunet.zeros`, `gpunet.einsum`. Most are methods, too.

Those of layers, such as `conv2d`, are in `gpunet.functional`.
"""

from gpunet.functions import (
    comparison,
    creation,
    elementary,
    methods,
    pairs,
    products,
    reduction,
    selection,
    shaping,
    statistics,
)
from gpunet.functions.comparison import *  # noqa: F403
from gpunet.functions.creation import *  # noqa: F403
from gpunet.functions.elementary import *  # noqa: F403
from gpunet.functions.methods import *  # noqa: F403
from gpunet.functions.pairs import *  # noqa: F403
from gpunet.functions.products import *  # noqa: F403
from gpunet.functions.reduction import *  # noqa: F403
from gpunet.functions.selection import *  # noqa: F403
from gpunet.functions.shaping import *  # noqa: F403
from gpunet.functions.statistics import *  # noqa: F403

__all__ = []
__all__ += comparison.__all__
__all__ += creation.__all__
__all__ += elementary.__all__
__all__ += methods.__all__
__all__ += pairs.__all__
__all__ += products.__all__
__all__ += reduction.__all__
__all__ += selection.__all__
__all__ += shaping.__all__
__all__ += statistics.__all__
