"""One HTML file that needs no network: styles, script and data inside, everything from outside escaped."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files

STYLE, SCRIPT = "page.css", "page.js"


def document(title: str, body: str, data: Mapping[str, object]) -> str:
    """The page: `body` is HTML, `data` JSON values that the script reads by name (`<script id=NAME>`).

    The content policy lets the page load nothing, and run no script but its own, which it names by its hash: a name of
    a file or class that slipped through the escaping could still not act.
    """
    script = _asset(SCRIPT)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    blocks = "".join(
        f'<script type="application/json" id="{escape(name)}">{_json(value)}</script>' for name, value in data.items()
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{text(title)}</title>\n<style>{_asset(STYLE)}</style>\n</head>\n<body>\n{body}\n{blocks}\n"
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def text(words: str) -> str:
    """Words from outside as HTML; signs that are no Unicode, as in names of files from other systems, as "�"."""
    return escape(_unicode(words))


def section(name: str, title: str, inside: str, words: str = "") -> str:
    """A part of the page with a heading, an anchor and a sentence (HTML) that says what is seen."""
    note = f'<p class="note">{words}</p>' if words else ""
    heading = f'<h2 id="{name}-title">{text(title)}</h2>'
    return f'<section id="{name}" aria-labelledby="{name}-title">{heading}{note}{inside}</section>'


def figure(chart: str, title: str, words: str = "") -> str:
    """A chart (HTML) with its title and what it means (HTML)."""
    caption = f"<strong>{text(title)}</strong>" + (f" {words}" if words else "")
    return f"<figure>{chart}<figcaption>{caption}</figcaption></figure>"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], label: str) -> str:
    """A table of texts, which scrolls by itself where the window is narrower."""
    head = "".join(f'<th scope="col">{text(cell)}</th>' for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{text(label)}"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _json(value: object) -> str:
    """JSON that cannot end its script element."""
    dumped = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return _unicode(dumped).replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _unicode(words: str) -> str:
    """Words in which bytes of a file name that are no UTF-8 are "�", by which the script knows them."""
    return words.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _asset(name: str) -> str:
    return files("hume_ssl.report").joinpath(name).read_text(encoding="utf-8")
