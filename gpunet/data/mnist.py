"""MNIST and Fashion-MNIST: grey images of 28 x 28 pixels in the IDX format."""

from __future__ import annotations

from pathlib import Path

from gpunet.data.dataset import ImageDataset
from gpunet.data.downloads import RemoteFile, get_file
from gpunet.data.idx import read_idx
from gpunet.data.transforms import Transform
from gpunet.data.unpack import gunzip
from gpunet.errors import DataError

__all__ = ["MNIST", "FashionMNIST"]

_LIMIT = 16 + 60_000 * 28 * 28  # bytes in the largest of the files

_MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_FASHION_MIRRORS = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
)


class MNIST(ImageDataset):
    """Handwritten digits: 60,000 images to learn from and 10,000 held out, (N, 1, 28, 28) uint8, classes "0" to "9".

    The four files of the original (train-images-idx3-ubyte.gz and so on, 11 MB) are downloaded unless they are there,
    see `gpunet.data.downloads`. Every pixel 0 to 255; divided by 255, the training images have mean 0.1307 and
    standard deviation 0.3081.

    Args:
        train: the training set, or else the test set.
        transform: applied to every batch of images, see `gpunet.data.transforms`.
        data_dir: where the files are or go; a cache folder of the user if left out.

    Shape:
        images (N, 1, 28, 28), labels (N,)

    Raises:
        DataError: if pooch is needed and not installed, or the files do not hold images with a label each.
        FileError: if a file is damaged, or cannot be downloaded, read or written.
        LabelError: if a label has no class.

    Reference:
        LeCun, Cortes and Burges, "The MNIST database of handwritten digits", 1998.
    """

    NAME = "mnist"
    CLASSES: tuple[str, ...] = tuple("0123456789")
    FILES = (
        RemoteFile(
            "train-images-idx3-ubyte.gz",
            9_912_422,
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            _MNIST_MIRRORS,
        ),
        RemoteFile(
            "train-labels-idx1-ubyte.gz",
            28_881,
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            _MNIST_MIRRORS,
        ),
        RemoteFile(
            "t10k-images-idx3-ubyte.gz",
            1_648_877,
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            _MNIST_MIRRORS,
        ),
        RemoteFile(
            "t10k-labels-idx1-ubyte.gz",
            4_542,
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            _MNIST_MIRRORS,
        ),
    )

    def __init__(
        self, train: bool = True, transform: Transform | None = None, data_dir: Path | str | None = None
    ) -> None:
        images, labels = (
            read_idx(gunzip(get_file(file, self.NAME, data_dir), _LIMIT, file.name), file.name)
            for file in (self.FILES[:2] if train else self.FILES[2:])
        )
        if images.ndim != 3 or labels.ndim != 1:
            raise DataError(
                f"{self.NAME} expects images (N, H, W) and labels (N,), got {images.shape} and {labels.shape}"
            )
        super().__init__(images[:, None], labels, transform, self.CLASSES)


class FashionMNIST(MNIST):
    """Articles of clothing, in the format of MNIST: 60,000 images to learn from and 10,000 held out, ten classes.

    Divided by 255, the training images have mean 0.2860 and standard deviation 0.3530.

    Shape:
        images (N, 1, 28, 28), labels (N,)

    Reference:
        Xiao, Rasul and Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms",
        2017. The images are under the MIT licence.
    """

    NAME = "fashion-mnist"
    CLASSES = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )
    FILES = (
        RemoteFile(
            "train-images-idx3-ubyte.gz",
            26_421_880,
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            _FASHION_MIRRORS,
        ),
        RemoteFile(
            "train-labels-idx1-ubyte.gz",
            29_515,
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            _FASHION_MIRRORS,
        ),
        RemoteFile(
            "t10k-images-idx3-ubyte.gz",
            4_422_102,
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            _FASHION_MIRRORS,
        ),
        RemoteFile(
            "t10k-labels-idx1-ubyte.gz",
            5_148,
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            _FASHION_MIRRORS,
        ),
    )
