"""How the site is built: `make docs`, without network, a warning is an error."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extension"))

project = "Crystallize"
author = "the Crystallize authors"
release = version = version_of("crystallize-core")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "crystallize_site",
]
exclude_patterns = ["examples", "_extension"]

# Pages are Markdown; links to headings of other pages are checked.
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3

# Docstrings are numpydoc; `name` in single backticks is code, as their authors write it.
default_role = "code"
napoleon_google_docstring = False
napoleon_use_param = False
napoleon_use_rtype = False
napoleon_use_ivar = True
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True
add_module_names = False
# A reference to anything public of ours must lead somewhere; see `forgive` in crystallize_site.
nitpicky = True

html_theme = "furo"
html_title = "Crystallize"
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
