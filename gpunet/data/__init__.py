"""Data: datasets on the host, transforms of whole batches of images, and the loader that makes Tensors of them."""

from gpunet.data import transforms
from gpunet.data.dataset import Dataset, ImageDataset, Subset, TensorDataset, random_split
from gpunet.data.digits import Digits
from gpunet.data.loader import DataLoader

__all__ = [
    "DataLoader",
    "Dataset",
    "Digits",
    "ImageDataset",
    "Subset",
    "TensorDataset",
    "random_split",
    "transforms",
]
