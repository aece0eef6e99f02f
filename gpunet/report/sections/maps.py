"""What the layers of the network make of one image."""

from __future__ import annotations

from gpunet.markup import Markup, tag
from gpunet.report.cells import cells, picture, upright
from gpunet.report.elements import Part, note
from gpunet.report.examine import Examination
from gpunet.report.sections.samples import image_name
from gpunet.visualize import FeatureMaps, grey_picture, spread
from gpunet.words import Words

__all__ = ["maps"]

MOST_CHANNELS = 16


def maps(examined: Examination, texts: Words) -> Part:
    """Some channels of some layers."""
    label = int(examined.labels[0])
    sample = next(each for each in examined.samples[label] if each.index == 0)
    name, right = image_name(examined, 0, texts), examined.classes[label]
    whole = tag(
        "figure",
        tag("figcaption", tag("b", texts["maps.image"]), " ", texts("maps.which", name=name, right=right)),
        picture(upright(sample.picture), texts("samples.alt", name=right, image=name), class_="sample"),
    )
    figures = [whole, *(_figure(each, texts) for each in examined.maps)]
    return Part(
        "maps",
        texts["maps.heading"],
        [note(texts("maps.how", most=MOST_CHANNELS)), tag("div", *figures, class_="grid maps")],
    )


def _figure(maps: FeatureMaps, texts: Words) -> Markup:
    chosen = spread(len(maps.values), MOST_CHANNELS)
    channels = maps.values[chosen]
    low, high = float(channels.min()), float(channels.max())
    pictures = []
    for number, channel in zip(chosen, grey_picture(channels, low, high), strict=True):
        told = texts("maps.channel", number=number, name=maps.name)
        pictures.append(picture(channel, told, title=told))
    size = " x ".join(map(str, maps.values.shape))
    span = texts("maps.span", low=f"{low:.3g}", high=f"{high:.3g}")
    return tag("figure", tag("figcaption", tag("b", maps.name), f" {maps.kind}, {size}; {span}"), cells(pictures))
