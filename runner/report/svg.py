"""Owns charts as SVG that a page can hold: no styles of their own, colours by class, names of the model as text only.

matplotlib writes a style attribute for every element, which a strict content security policy forbids, and fixed
colours, which fit one of two themes. Here each style becomes attributes, and each of the few colours of COLOURS becomes
a class that the page's style sheet fills in. Labels are drawn as marks and put in afterwards, as text: so no name is
ever read as a formula, measured, or looked for in a font.
"""

from __future__ import annotations

import importlib
import io
import re
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

from runner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_SVG: Final = "http://www.w3.org/2000/svg"
_XLINK: Final = "http://www.w3.org/1999/xlink"
# What a chart is drawn with, and the class that it becomes.
COLOURS: Final = {
    "ink": "#000001",
    "faint": "#000002",
    "grid": "#000003",
    "main": "#000004",
    "good": "#000005",
    "warn": "#000006",
    "bad": "#000007",
    "other": "#000008",
}
_CLASSES: Final = {colour: name for name, colour in COLOURS.items()}
_KEPT: Final = {
    "fill-opacity", "stroke-opacity", "opacity", "stroke-width", "stroke-dasharray", "stroke-dashoffset",
    "stroke-linecap", "stroke-linejoin", "text-anchor",
}  # fmt: skip
_SETTINGS: Final = {
    "svg.fonttype": "none",
    "svg.hashsalt": "evalrunner",
    "text.parse_math": False,
    "axes.unicode_minus": False,
    "path.simplify": False,
    "font.family": "DejaVu Sans",
}
_REFERENCE: Final = re.compile(r"url\(#([^)]+)\)")
_FONT_SIZE: Final = re.compile(r"([\d.]+)px")
_POINT_PX: Final = 96 / 72


def drawing() -> tuple[Any, Any]:
    """Return matplotlib and its class of figures. Raises UsageError that says how to install it."""
    try:
        matplotlib = importlib.import_module("matplotlib")
        return matplotlib, importlib.import_module("matplotlib.figure").Figure
    except ImportError as error:
        raise UsageError(
            "the charts of a report are drawn by matplotlib, which is not installed",
            hint="pip install 'evalrunner[report]'",
        ) from error


def draw(
    name: str, size: tuple[float, float], paint: Callable[[Any], None], title: str, labels: Sequence[str] = ()
) -> str:
    """Return a chart as an SVG element. `size` is in CSS pixels; `name` begins its ids, so that none is there twice.

    `paint` draws on a matplotlib figure, in COLOURS; where it writes `mark(n)`, the page shows `labels[n]`. `title` is
    what a screen reader says of it.
    """
    matplotlib, new_figure = drawing()
    out = io.BytesIO()
    with matplotlib.rc_context(_SETTINGS):
        figure = new_figure(figsize=(size[0] / 96, size[1] / 96), dpi=72)
        paint(figure)
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _tamed(out.getvalue(), name, size, title, {mark(number): text for number, text in enumerate(labels)})


def mark(number: int) -> str:
    """Return what stands for a label until it is put in."""
    return f"@{number}@"


def _tamed(drawn: bytes, name: str, size: tuple[float, float], title: str, labels: Mapping[str, str]) -> str:
    for prefix, space in (("", _SVG), ("xlink", _XLINK)):
        ET.register_namespace(prefix, space)
    root = ET.fromstring(drawn)  # noqa: S314 - our own drawing, without a name of anybody in it
    for parent in root.iter():
        for child in list(parent):
            if child.tag in {f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"}:
                parent.remove(child)
    for element in root.iter():
        _name_ids(element, name)
        _style(element)
        if element.text is not None and element.text.strip() in labels:
            element.text = labels[element.text.strip()]
    for gone in ("width", "height", "version"):
        root.attrib.pop(gone, None)
    root.set("viewBox", f"0 0 {size[0] / _POINT_PX:g} {size[1] / _POINT_PX:g}")
    root.set("class", "chart")
    root.set("role", "img")
    root.set("aria-labelledby", f"{name}-title")
    first = ET.Element(f"{{{_SVG}}}title", {"id": f"{name}-title"})
    first.text = title
    root.insert(0, first)
    return ET.tostring(root, encoding="unicode")


def _name_ids(element: ET.Element, name: str) -> None:
    if "id" in element.attrib:
        element.set("id", f"{name}-{element.attrib['id']}")
    for key, value in list(element.attrib.items()):
        if key.endswith("href") and value.startswith("#"):
            element.set(key, f"#{name}-{value[1:]}")
        elif "url(#" in value:
            element.set(key, _REFERENCE.sub(rf"url(#{name}-\1)", value))


def _style(element: ET.Element) -> None:
    """Turn the style of an element into attributes and classes."""
    classes = []
    for declaration in element.attrib.pop("style", "").split(";"):
        key, _, value = (piece.strip() for piece in declaration.partition(":"))
        if key in {"fill", "stroke"} and value in _CLASSES:
            classes.append(f"{key}-{_CLASSES[value]}")
        elif key in {"fill", "stroke"} or key in _KEPT:
            element.set(key, value)
        elif key == "font" and (points := _FONT_SIZE.search(value)):
            element.set("font-size", points[1])
        elif key == "font-size":
            element.set("font-size", value.removesuffix("px"))
    if element.tag == f"{{{_SVG}}}text" and not any(one.startswith("fill-") for one in classes):
        classes.append("fill-ink")
    if classes:
        element.set("class", " ".join(classes))
