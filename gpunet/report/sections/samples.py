"""What the classes look like: the first test images of each."""

from __future__ import annotations

from gpunet.markup import Markup, tag
from gpunet.report.cells import picture, upright
from gpunet.report.elements import Part, note
from gpunet.report.examine import Examination
from gpunet.report.sections.classes import MANY_CLASSES
from gpunet.words import Words

__all__ = ["image_name", "samples"]

IN_A_ROW = 6  # images of a class; more get two rows where the page is wide


def samples(examined: Examination, texts: Words) -> Part:
    """Some images of each class, as the network sees them."""
    figures = [_row(examined, label, texts) for label in range(len(examined.classes))]
    style = "samples limited" if len(figures) > MANY_CLASSES else "samples"
    most = max(map(len, examined.samples))
    columns = most if most <= IN_A_ROW else -(-most // 2)
    grid = tag("div", *figures, class_=style, style=f"--shown:{most};--columns:{columns}")
    return Part("samples", texts["samples.heading"], [note(texts["samples.how"]), grid])


def _row(examined: Examination, label: int, texts: Words) -> Markup:
    name = examined.classes[label]
    images = [
        picture(
            upright(each.picture),
            texts("samples.alt", name=name, image=image_name(examined, each.index, texts)),
            title=image_name(examined, each.index, texts),
        )
        for each in examined.samples[label]
    ]
    strip = tag("div", *images, class_="strip")
    none = tag("p", texts["samples.none"], class_="soft")
    return tag("figure", tag("figcaption", tag("b", name)), strip if images else none)


def image_name(examined: Examination, index: int, texts: Words) -> str:
    """How a test image is called: by its file, where it has one, or by its number in the test set."""
    return examined.names[index] if examined.names else texts("image.number", index=index)
