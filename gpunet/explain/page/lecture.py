"""Pages in files: one exercise, or the whole lecture with a list of its pages, in one language or in several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gpunet.errors import ArgumentError, FileError
from gpunet.explain.coalescing import COALESCING
from gpunet.explain.exercise import OPERATIONS, Exercise, lecture_exercise
from gpunet.explain.explanation import explain
from gpunet.explain.operations import LECTURE
from gpunet.explain.page.build import Neighbours, document, links, operation_page, page_words
from gpunet.explain.page.coalescing import coalescing_page, coalescing_thumbnail
from gpunet.explain.page.thumbnail import thumbnail
from gpunet.explain.words import LANGUAGES, words
from gpunet.files import write_bytes
from gpunet.markup import Markup, tag

__all__ = ["write_coalescing", "write_lecture", "write_page"]

_INDEX = "index.html"


def write_page(exercise: Exercise, path: Path | str, language: str = "en") -> Path:
    """Write the page of an exercise: one file that opens from disk and needs nothing beside itself.

    Returns:
        the file that was written.

    Raises:
        ArgumentError: if there is no such language.
        FileError: if the file cannot be written.
    """
    return _write(Path(path), operation_page(exercise, language))


def write_coalescing(path: Path | str, language: str = "en") -> Path:
    """Write the page about coalesced and strided access, as `write_page` does that of an exercise.

    Raises:
        ArgumentError: if there is no such language.
        FileError: if the file cannot be written.
    """
    return _write(Path(path), coalescing_page(language))


def write_lecture(folder: Path | str, languages: Sequence[str] = LANGUAGES) -> Path:
    """Write a page for each operation, with the lecture's numbers, one about memory, and a list of them.

    Several languages get a folder each, and a page above them to choose from.

    Returns:
        the page to begin with, index.html in the folder.

    Raises:
        ArgumentError: if there is no such language, or none is named.
        FileError: if a folder cannot be made or a file cannot be written.
    """
    if not languages:
        raise ArgumentError(f"write_lecture: name a language; there are {', '.join(LANGUAGES)}")
    for language in languages:
        page_words(language)  # an unknown one is found before anything is written
    folder, several = Path(folder), len(languages) > 1
    for language in languages:
        pages = _pages(language, languages if several else ())
        inside = folder / language if several else folder
        try:
            inside.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"cannot make the folder {inside}: {error.strerror or error}") from error
        for name, text in pages.items():
            _write(inside / name, text)
    return _write(folder / _INDEX, _choice(languages)) if several else folder / _INDEX


def _write(path: Path, text: str) -> Path:
    if not path.parent.is_dir():
        raise FileError(f"cannot write {path}: there is no folder {path.parent}")
    write_bytes(path, text.encode())
    return path


def _pages(language: str, languages: Sequence[str]) -> dict[str, str]:
    """All pages of a language by the names of their files, the list last; `languages` are those to switch between."""
    pages = {}
    for place, operation in enumerate(OPERATIONS):
        before, after = OPERATIONS[max(place - 1, 0) : place], OPERATIONS[place + 1 : place + 2]
        previous, following = (
            next(((f"{name}.html", LECTURE[name].texts[language]["title"]) for name in names), None)
            for names in (before, after)
        )
        others = {other: f"../{other}/{operation}.html" for other in languages}
        neighbours = Neighbours(_INDEX, previous, following, others)
        pages[f"{operation}.html"] = operation_page(lecture_exercise(operation), language, neighbours)
    others = {other: f"../{other}/{COALESCING}.html" for other in languages}
    pages[f"{COALESCING}.html"] = coalescing_page(language, Neighbours(_INDEX, languages=others))
    pages[_INDEX] = _list_of_pages(language, {other: f"../{other}/{_INDEX}" for other in languages})
    return pages


def _list_of_pages(language: str, languages: dict[str, str]) -> str:
    texts, labels = words(language), page_words(language)

    def card(name: str, title: str, summary: str, picture: Markup) -> Markup:
        return tag("li", tag("a", picture, tag("b", title), tag("span", summary, class_="soft"), href=f"{name}.html"))

    groups: dict[str, list[Markup]] = {}
    for name, each in LECTURE.items():
        picture, told = thumbnail(explain(lecture_exercise(name))), each.texts[language]
        groups.setdefault(each.group, []).append(card(name, told["title"], told["summary"], picture))
    memory = (texts["coalescing.title"], texts["coalescing.summary"], coalescing_thumbnail())
    groups["memory"] = [card(COALESCING, *memory)]
    lists = [tag("h2", labels[f"group.{group}"]) + tag("ol", *cards, class_="pages") for group, cards in groups.items()]
    header = tag(
        "header",
        links(Neighbours(languages=languages), labels) if languages else None,
        tag("p", labels["lecture.kicker"], class_="kicker"),
        tag("h1", labels["lecture"]),
        tag("p", labels["lecture.summary"], class_="summary"),
    )
    return document(labels["lecture"], language, [header, tag("main", *map(Markup, lists))])


def _choice(languages: Sequence[str]) -> str:
    """The page from which one goes on to a language."""
    cards = []
    for language in languages:
        labels = page_words(language)
        title = tag("b", labels[f"language.{language}"], ": ", labels["lecture"])
        summary = tag("span", labels["lecture.summary"], class_="soft")
        cards.append(tag("li", tag("a", title, summary, href=f"{language}/{_INDEX}", lang=language, hreflang=language)))
    main = tag("main", tag("h1", "gpunet explain"), tag("ul", *cards, class_="pages"))
    return document("gpunet explain", languages[0], [main])
