"""Make gpunet/data/digits.safetensors, the handwritten digits that come with gpunet, from scikit-learn's copy.

Run once, from the root of the repository, with scikit-learn and safetensors installed:

    python tools/make_digits.py

The file is in the repository; this script is here to show where every number in it comes from. It holds

    images  uint8 (1797, 1, 8, 8), values 0 to 16
    labels  uint8 (1797,)
    test    uint8 (1797,), 1 where the image is held out

in the order of the source. The split is stored, not drawn anew by gpunet, so that no version of NumPy can move it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import sklearn
from safetensors.numpy import save_file
from sklearn.datasets import load_digits

TARGET = Path(__file__).resolve().parent.parent / "gpunet" / "data" / "digits.safetensors"
SPLIT_SEED = 1998  # the year of the data set
TEST_PER_CLASS = 36  # 360 of 1,797 images: 20 %


def main() -> None:
    """Write the file and print the hashes that tests/test_data.py records."""
    source = load_digits()
    images = source.images.astype(np.uint8)[:, None]  # (N, 1, 8, 8)
    labels = source.target.astype(np.uint8)
    if not np.array_equal(images[:, 0], source.images) or images.max() != 16:
        raise SystemExit("the source does not hold whole numbers from 0 to 16")
    arrays = {"images": images, "labels": labels, "test": held_out(labels)}
    save_file(arrays, TARGET, metadata())
    TARGET.chmod(0o644)  # safetensors makes files that only their owner can read
    for name, array in arrays.items():
        print(f"{name:7}{array.dtype} {array.shape} sha256 {hashlib.sha256(array.tobytes()).hexdigest()}")
    print(f"{TARGET.name}: {TARGET.stat().st_size} bytes")


def held_out(labels: np.ndarray) -> np.ndarray:
    """Mark 36 random images of each class."""
    rng = np.random.default_rng(SPLIT_SEED)
    test = np.zeros(len(labels), dtype=np.uint8)
    for label in range(10):
        test[rng.permutation(np.flatnonzero(labels == label))[:TEST_PER_CLASS]] = 1
    return test


def metadata() -> dict[str, str]:
    """Where the data comes from and under which terms, as the licence asks."""
    return {
        "title": "Optical Recognition of Handwritten Digits, the test set (1,797 images)",
        "source": "E. Alpaydin, C. Kaynak (1998), UCI Machine Learning Repository, https://doi.org/10.24432/C50P49",
        "license": "CC BY 4.0, https://creativecommons.org/licenses/by/4.0/",
        "made": (
            f"by tools/make_digits.py of gpunet from load_digits() of scikit-learn {sklearn.__version__}; changes to "
            f"the source: stored as uint8 of shape (1797, 1, 8, 8), and {TEST_PER_CLASS} random images of each class "
            f"marked as the test set (seed {SPLIT_SEED})"
        ),
    }


if __name__ == "__main__":
    main()
