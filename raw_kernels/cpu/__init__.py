"""The C++ sources of the CPU kernels, and beside them the libraries that were built of them."""
