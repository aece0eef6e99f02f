"""Files of ONNX, the format in which networks go from one program to another."""

from gpunet.onnx.exporting import export
from gpunet.onnx.network import Network, load

__all__ = ["Network", "export", "load"]
