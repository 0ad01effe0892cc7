"""A page as one file: elements that escape by themselves, a policy that allows nothing from outside.

Text enters the page only as text nodes and attributes of an element tree, which its serializer escapes; no
string is ever taken for markup. Should that fail, the Content-Security-Policy forbids every script, and every
style but the page's own, named by its hash.
"""

import base64
import hashlib
import html
import string
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from nanogpt_cli.files import templates_dir

Child = Element | str | None
_TAGS = {"zh": "zh-Hans"}  # BCP 47: browsers choose the glyphs by it


def element(tag: str, *children: Child, **attributes: str) -> Element:
    """An element; strings become text, None nothing. `class_` is class, `aria_label` aria-label."""
    made = Element(tag, {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()})
    for child in children:
        if isinstance(child, Element):
            made.append(child)
        elif child:
            _append_text(made, child)
    return made


def _append_text(parent: Element, text: str) -> None:
    if len(parent):
        parent[-1].tail = (parent[-1].tail or "") + text
    else:
        parent.text = (parent.text or "") + text


def page(title: str, language: str, body: Element) -> str:
    """The whole document; `body` is the <main> element."""
    folder = templates_dir() / "report"
    style = (folder / "style.css").read_text(encoding="utf-8")
    template = string.Template((folder / "page.html").read_text(encoding="utf-8"))
    digest = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    return template.substitute(
        lang=html.escape(_TAGS.get(language, language)),
        title=html.escape(title),
        style=style,
        style_hash=f"sha256-{digest}",
        body=ElementTree.tostring(body, encoding="unicode", method="html"),
    )
