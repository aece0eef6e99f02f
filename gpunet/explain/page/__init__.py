"""Pages on which an operation of the lecture can be stepped through and its numbers changed, in a browser."""

from gpunet.explain.page.lecture import write_coalescing, write_lecture, write_page

__all__ = ["write_coalescing", "write_lecture", "write_page"]
