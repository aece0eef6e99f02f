"""A finished report: a page, the figures in it, and how both are handed on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpunet.errors import FileError
from gpunet.files import write_bytes
from gpunet.notebook import framed

__all__ = ["Report"]


@dataclass(frozen=True)
class Report:
    """A report on a run, or on several; a notebook shows it as it is.

    Attributes:
        title: of the page.
        page: all of it as HTML, which needs nothing beside itself.
        figures: what it says in numbers, as JSON holds it.
        path: the file that `save` writes if it is not told another.
    """

    title: str
    page: str
    figures: dict[str, Any]
    path: Path | str

    def save(self, path: Path | str | None = None) -> Path:
        """Write the page into a file, whole or not at all, and return where it is.

        Raises:
            FileError: if it cannot be written.
        """
        target = Path(self.path if path is None else path)
        if not target.parent.is_dir():
            raise FileError(f"cannot write {target}: there is no folder {target.parent}")
        write_bytes(target, self.page.encode())
        return target

    def _repr_html_(self) -> str:
        """How a notebook shows it."""
        return framed(self.title, self.page)

    def __repr__(self) -> str:
        return f"<Report {self.title!r}, {len(self.page):,} letters; .save() writes it>"
