"""Data: datasets on the host, transforms of whole batches of images, and the loader that makes Tensors of them."""

from gpunet.data import transforms
from gpunet.data.catalog import DATASETS, DatasetRecipe, find_dataset
from gpunet.data.dataset import Dataset, ImageDataset, Subset, TensorDataset, random_split
from gpunet.data.digits import Digits
from gpunet.data.loader import DataLoader

__all__ = [
    "DATASETS",
    "DataLoader",
    "Dataset",
    "DatasetRecipe",
    "Digits",
    "ImageDataset",
    "Subset",
    "TensorDataset",
    "find_dataset",
    "random_split",
    "transforms",
]
