"""gpunet as a backend of ONNX, which ONNX's own suites of tests run: `gpunet.onnx.backend.Backend`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gpunet.errors import UnsupportedError
from gpunet.onnx.network import Network
from gpunet.onnx.reading import plan_of
from gpunet.tape import no_grad
from gpunet.tensor import tensor

try:
    from onnx.backend.base import Backend as Base
    from onnx.backend.base import BackendRep
except ImportError:  # then nobody asks for a backend
    Base = BackendRep = object

__all__ = ["Backend", "Prepared"]


def _not_supposed(error: UnsupportedError) -> Exception:
    """ONNX's own error for what a backend has not."""
    from onnx.backend.test.runner import BackendIsNotSupposedToImplementIt

    return BackendIsNotSupposedToImplementIt(str(error))


class Prepared(BackendRep):
    """A network, ready to run on arrays."""

    def __init__(self, network: Network) -> None:
        self.network = network

    def run(self, inputs: Any, **kwargs: Any) -> tuple[np.ndarray[Any, Any], ...]:
        """The outputs, as arrays of the host; or ONNX's own error, where an operator is not to be had for them."""
        try:
            with no_grad():
                made = self.network(*(tensor(np.asarray(each)) for each in inputs))
        except UnsupportedError as error:
            raise _not_supposed(error) from error
        return tuple(each.numpy() for each in (made if isinstance(made, tuple) else (made,)))


class Backend(Base):
    """What `onnx.backend` asks of one."""

    @classmethod
    def prepare(cls, model: Any, device: str = "CPU", **kwargs: Any) -> Prepared:
        """The network of a message of ONNX; or ONNX's own error, where that has what gpunet has not."""
        try:
            return Prepared(Network(plan_of(model, Path("model.onnx"))).eval())
        except UnsupportedError as error:
            raise _not_supposed(error) from error

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """The active backend is chosen by gpunet."""
        return device == "CPU"
