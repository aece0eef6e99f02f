"""The site: these pages, the docstrings, pictures, the lecture. `python -m sphinx -W -n docs build/site` builds it."""

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

from extensions.source_links import linkcode_resolve  # noqa: E402, F401  (sphinx.ext.linkcode asks it)

from gpunet.version import __version__  # noqa: E402

project = "gpunet"
author = "the authors of gpunet"
project_copyright = author
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.linkcode",
    "extensions.docstrings",
    "extensions.made_pages",
    "extensions.pictures",
    "extensions.source_links",
]
exclude_patterns = ["made"]

# Markdown: tables, definition lists, links to headings; a block that names no language is no Python.
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
myst_url_schemes = ["http", "https", "mailto", "source"]
highlight_language = "text"

# Docstrings are in the order of the sources, and say their types in the signature.
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_numpy_docstring = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
toc_object_entries_show_parents = "hide"

# Every reference must lead somewhere, but those to what other projects document: the site is built without a network.
nitpick_ignore_regex = [
    ("py:.*", r"(?:abc|collections|contextlib|numpy|np|enum|os|pathlib|argparse|types|typing|_typeshed)\..*"),
    ("py:.*", r"gpunet\.emulator\.module\.Module|(?:matplotlib|PIL|sklearn|types)\..*|Figure|Axes"),
    # Short names of types within signatures, which say there what they stand for.
    ("py:.*", r"(?:gpunet\.[\w.]*\.)?(?:Self|Layer|Conv|Pair|Size|Values|Window|Node|Plan|Hooks|ChannelNorm|_Error)"),
]

# How it looks. Nothing is loaded from elsewhere: the site can be read without a network.
html_theme = "furo"
html_title = f"gpunet {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_search_scorer = str(DOCS / "static" / "scorer.js")
html_copy_source = False
html_show_copyright = False
