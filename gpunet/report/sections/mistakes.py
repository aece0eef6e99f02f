"""The images that the network was wrong about, the most confident mistakes first."""

from __future__ import annotations

from gpunet.markup import Markup, tag
from gpunet.report.cells import heat_scale, picture, upright
from gpunet.report.elements import Part, details, note, percent, table
from gpunet.report.examine import Examination, Heat
from gpunet.report.sections.samples import image_name
from gpunet.words import Words

__all__ = ["mistakes"]

MOST_ROWS = 500


def mistakes(examined: Examination, texts: Words) -> Part:
    """Pictures of the first ones with their heat, and a list of all."""
    heading = texts["mistakes.heading"]
    count, images = len(examined.mistakes), len(examined.labels)
    if not count:
        return Part("mistakes", heading, [tag("p", texts("mistakes.none", images=images))])
    height, width = examined.heat_size
    layer = tag("code", examined.heat_layer)
    how = [texts("mistakes.count", count=count, images=images), " ", texts("mistakes.how", height=height, width=width)]
    return Part(
        "mistakes",
        heading,
        [
            note(*how, " ", layer, "."),
            heat_scale(texts["heat.nothing"], texts["heat.most"], texts["heat.scale"]),
            tag("div", *(_figure(examined, each, texts) for each in examined.heats), class_="pictures"),
            details(texts["mistakes.list"], _table(examined, texts)),
        ],
    )


def _figure(examined: Examination, heat: Heat, texts: Words) -> Markup:
    index = heat.sample.index
    name = image_name(examined, index, texts)
    right, predicted = (examined.classes[int(each[index])] for each in (examined.labels, examined.predicted))
    share = percent(float(examined.probabilities[index].max()))
    told = texts("mistakes.alt", name=name, right=right, predicted=predicted, share=share)
    pair = tag(
        "div",
        picture(upright(heat.sample.picture), told),
        picture(heat.picture, texts("mistakes.heat", predicted=predicted)),
        class_="pair",
    )
    answers = [texts["mistakes.is"], " ", tag("b", right), ", ", texts["mistakes.taken_for"], " ", tag("b", predicted)]
    folders = [part for folder in name.split("/")[:-1] for part in (f"{folder}/", tag("wbr"))]  # where lines may break
    return tag("figure", pair, tag("figcaption", *folders, name.split("/")[-1], tag("br"), *answers, f", {share}"))


def _table(examined: Examination, texts: Words) -> Markup:
    rows = []
    for index in map(int, examined.mistakes[:MOST_ROWS]):
        right, predicted = int(examined.labels[index]), int(examined.predicted[index])
        shares = [percent(float(examined.probabilities[index, each])) for each in (predicted, right)]
        names = [examined.classes[right], examined.classes[predicted]]
        rows.append([image_name(examined, index, texts), *names, *shares])
    caption = texts["mistakes.table"]
    if len(examined.mistakes) > MOST_ROWS:
        caption = texts("mistakes.first", shown=MOST_ROWS, count=len(examined.mistakes))
    heads = ("image", "right", "predicted", "share_predicted", "share_right")
    return tag("div", table(caption, [texts[f"mistakes.{head}"] for head in heads], rows), class_="limited")
