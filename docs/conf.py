"""How the site is built: `scripts/docs`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import evtool

project = "evtool"
author = "the evtool contributors"
version = release = evtool.__version__
html_title = f"evtool {release}"

extensions = ["myst_parser", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "sample"]
myst_enable_extensions = ["colon_fence", "deflist"]
# links to headings, as GitHub makes their anchors
myst_heading_anchors = 3

html_theme = "furo"
# the prompt and what a command prints are not to be copied
copybutton_prompt_text = r"\$ "
copybutton_prompt_is_regexp = True
html_copy_source = False
html_show_sourcelink = False
nitpicky = True
