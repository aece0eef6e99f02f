"""Looking into a network: where it looked, what its layers saw, the surface of its loss, and the figures of all that.

Functions whose names begin with `plot_` return a figure of matplotlib, which is only imported when one is called.
"""

from gpunet.png import data_uri, encode_png
from gpunet.visualize.grad_cam import deepest_map, grad_cam
from gpunet.visualize.layers import FeatureMaps, feature_maps, first_filters
from gpunet.visualize.loss_surface import LossSurface, loss_surface
from gpunet.visualize.network_graph import GraphNode, network_graph
from gpunet.visualize.pictures import grey_picture, mosaic, overlay, spread
from gpunet.visualize.plot_explanation import plot_explanation
from gpunet.visualize.plot_feature_maps import plot_feature_maps
from gpunet.visualize.plot_filters import plot_filters
from gpunet.visualize.plot_grad_cam import plot_grad_cam
from gpunet.visualize.plot_loss_surface import plot_loss_surface

__all__ = [
    "FeatureMaps",
    "GraphNode",
    "LossSurface",
    "data_uri",
    "deepest_map",
    "encode_png",
    "feature_maps",
    "first_filters",
    "grad_cam",
    "grey_picture",
    "loss_surface",
    "mosaic",
    "network_graph",
    "overlay",
    "plot_explanation",
    "plot_feature_maps",
    "plot_filters",
    "plot_grad_cam",
    "plot_loss_surface",
    "spread",
]
