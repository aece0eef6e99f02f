"""How many threads NumPy's BLAS has, whatever other libraries, such as OpenCV, bring one of their own along later."""

from threadpoolctl import threadpool_info


def _libraries():
    return {each["filepath"]: each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}


_OF_NUMPY = _libraries().keys()  # imported while tests are collected, before the first of them loads another


def blas_threads():
    """The number of each library that was there before."""
    return [threads for path, threads in _libraries().items() if path in _OF_NUMPY]
