"""The linear layer: one row and many, features of any number."""

from tests.passes import cases, normal

# (rows, inputs, outputs)
SIZES = [(1, 64, 10), (7, 5, 3), (100, 33, 65), (2, 2000, 17), (300, 16, 128), (1, 1, 1)]


@cases("linear")
def linear(rng):
    for rows, inputs, outputs in SIZES:
        yield normal(rng, (rows, inputs)), normal(rng, (outputs, inputs)), normal(rng, (outputs,))
        yield normal(rng, (rows, inputs)), normal(rng, (inputs, outputs)).T, None


@cases("linear_back_input")
def linear_back_input(rng):
    for rows, inputs, outputs in SIZES:
        yield normal(rng, (rows, outputs)), normal(rng, (outputs, inputs))
