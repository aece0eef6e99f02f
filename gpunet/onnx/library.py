"""The package onnx, which knows the format of the files; imported when it is asked for."""

from __future__ import annotations

from typing import Any

from gpunet.errors import DataError

__all__ = ["onnx_library"]


def onnx_library() -> Any:
    """The package.

    Raises:
        DataError: if it is not installed.
    """
    try:
        import onnx
        import onnx.checker
        import onnx.external_data_helper
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise DataError("files of ONNX take the package onnx: pip install 'gpunet[onnx]'") from error
    return onnx
