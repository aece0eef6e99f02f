"""Data: datasets on the host, transforms of whole batches of images, and the loader that makes Tensors of them."""

from gpunet.data import transforms
from gpunet.data.catalog import AUGMENTATIONS, DATASETS, FOLDER, DatasetRecipe, dataset_names, find_dataset
from gpunet.data.cifar import CIFAR10, CIFAR100
from gpunet.data.collate import default_collate
from gpunet.data.dataset import (
    ConcatDataset,
    Dataset,
    ImageDataset,
    IterableDataset,
    Subset,
    TensorDataset,
    random_split,
)
from gpunet.data.digits import Digits
from gpunet.data.folder import ImageFolder
from gpunet.data.images import is_picture, read_image
from gpunet.data.loader import DataLoader
from gpunet.data.mixup import Mixup
from gpunet.data.mnist import MNIST, FashionMNIST
from gpunet.data.sampler import (
    BatchSampler,
    DistributedSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from gpunet.data.shapes import Shapes
from gpunet.data.statistics import dataset_statistics

__all__ = [
    "AUGMENTATIONS",
    "CIFAR10",
    "CIFAR100",
    "DATASETS",
    "FOLDER",
    "MNIST",
    "BatchSampler",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "DatasetRecipe",
    "Digits",
    "DistributedSampler",
    "FashionMNIST",
    "ImageDataset",
    "ImageFolder",
    "IterableDataset",
    "Mixup",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "Shapes",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "dataset_names",
    "dataset_statistics",
    "default_collate",
    "find_dataset",
    "is_picture",
    "random_split",
    "read_image",
    "transforms",
]
