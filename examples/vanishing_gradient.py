"""How the gradient vanishes on its way through a deep network, and how shortcuts keep it: measured, drawn and enforced.

Run it:  python examples/vanishing_gradient.py        (about two minutes on two cores)
"""

import argparse
from pathlib import Path

import gpunet
from gpunet.data import DataLoader, find_dataset
from gpunet.functional import cross_entropy
from gpunet.gradients import DEPTHS, DeepNetwork, Design, Experiment, gradient_norms


def norms_by_layer(design: Design, dtype: str) -> list[float]:
    """The measurement, written out: one batch there and back, and how large the gradient of each layer is."""
    gpunet.manual_seed(0)
    model = DeepNetwork(design).to(dtype)
    images, labels = next(iter(DataLoader(find_dataset("digits").train_set(8, "none"), batch_size=64)))
    cross_entropy(model(images.to(dtype)), labels).backward()
    return gradient_norms(model.weights())


def main(experiment: Experiment, out: str = "runs/vanishing_gradient") -> None:
    for depth in experiment.depths:
        for residual in (False, True):
            design = Design(depth, residual, batch_norm=False, activation="sigmoid")
            for dtype in ("float32", "float16"):
                norms = norms_by_layer(design, dtype)
                print(f"{design.name:12} {dtype}  first layer {norms[0]:7.1e}  last layer {norms[-1]:7.1e}")

    findings = experiment.run(Path(out))  # all that, with ReLU, batch norm and training, too; writes pictures and JSON
    for claim in findings.claims():
        print(f"\n{claim.text}\n  {claim.evidence}")
        if not claim.holds:
            raise SystemExit("that is not what was expected of these networks")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--depths", type=int, nargs="+", default=DEPTHS)
    parser.add_argument("--out", default="runs/vanishing_gradient", metavar="DIR")
    options = parser.parse_args()
    main(Experiment(options.depths), options.out)
