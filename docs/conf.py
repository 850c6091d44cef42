"""How Sphinx builds the site: ``make docs``. Pages are Markdown, and read as well where no site is built."""

from __future__ import annotations

from request_callout import __version__

project = "kong-request-callout"
author = "the authors of kong-request-callout"
release = __version__
extensions = ["myst_parser"]
exclude_patterns = ["build"]

# Every reference has to lead somewhere; `make docs` and the test make an error of each warning.
nitpicky = True

myst_heading_anchors = 4
myst_enable_extensions = ["attrs_inline"]
# Fonts, scripts and styles all come with the theme: nothing is loaded from elsewhere.
html_theme = "furo"
html_title = f"request-callout {release}"
html_copy_source = False
html_show_sphinx = False
# What a shell or a file of settings shows is coloured where its highlighter can read it, and plain elsewhere.
highlight_language = "text"
