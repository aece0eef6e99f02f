"""Looking into a network: where it looked, what its layers saw, and the pictures made of that."""

from gpunet.visualize.grad_cam import grad_cam
from gpunet.visualize.layers import FeatureMaps, feature_maps, first_filters
from gpunet.visualize.pictures import grey_picture, mosaic, overlay
from gpunet.visualize.png import data_uri, encode_png

__all__ = [
    "FeatureMaps",
    "data_uri",
    "encode_png",
    "feature_maps",
    "first_filters",
    "grad_cam",
    "grey_picture",
    "mosaic",
    "overlay",
]
