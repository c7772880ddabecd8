"""The document as a page for people.

Owns ``docs.html`` and ``docs.css``. The page is made on the server, of the document alone; it has
no script and fetches nothing, so its policy can forbid both.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib import resources
from typing import Final

import jinja2
from markupsafe import Markup, escape

from alertd.http.openapi.document import make_document

_FILES: Final = resources.files(__package__)


def _style() -> str:
    return _FILES.joinpath("docs.css").read_text(encoding="utf-8")


def _style_hash() -> str:
    return base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()


@cache
def security_policy() -> str:
    """Return the page's Content-Security-Policy: its own style, and nothing else at all."""
    return (
        f"default-src 'none'; style-src 'sha256-{_style_hash()}'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )


@cache
def page() -> bytes:
    """Return the page, HTML in UTF-8. Cost: some 100 ms, once."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.Undefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    environment.filters |= {"prose": _prose, "last_part": _last_part, "figure": _figure}
    template = environment.from_string(_FILES.joinpath("docs.html").read_text(encoding="utf-8"))
    return template.render(document=make_document(), style=Markup(_style())).encode()  # noqa: S704


def _prose(text: str) -> Markup:
    """Return CommonMark as HTML, as far as the document has any: paragraphs and code."""
    html = re.sub(r"`(.+?)`", r"<code>\1</code>", str(escape(text)))
    return Markup(html.replace("\n\n", "</p><p>"))  # noqa: S704  # escaped above


def _figure(number: float) -> str:
    """Return a number as people read it: 31,622,400 and 0.000001."""
    return f"{number:,.6f}".rstrip("0").rstrip(".")


def _last_part(reference: str) -> str:
    """Return the name at the end of a JSON reference."""
    return reference.rpartition("/")[2]
