"""Turn the reStructuredText in docstrings into Markdown: formulas, literal blocks and roles."""

import re
from typing import Any

import griffe

BLOCK = re.compile(r"^\.\. math::(.*(?:\n+ {4,}\S.*)*)", re.MULTILINE)
INLINE = re.compile(r":math:`([^`]*)`")
LITERAL = re.compile(r"::$", re.MULTILINE)
EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)  # griffe shows doctests under the plural only
ROLE = re.compile(r":(?:class|data|func|meth|mod):`([^`]*)`")


def to_markdown(text: str) -> str:
    """Return a docstring in Markdown."""
    text = BLOCK.sub(lambda found: f"$$\n{_one_line(found[1])}\n$$", text)
    text = INLINE.sub(lambda found: f"${_one_line(found[1])}$", text)
    text = EXAMPLE.sub("Examples:", LITERAL.sub(":", text))
    return ROLE.sub(lambda found: f"`{_shown(found[1])}`", text)


def _one_line(formula: str) -> str:
    return " ".join(formula.split())


def _shown(name: str) -> str:
    """Return the name that a role shows: a leading tilde leaves only the last part."""
    return name.split(".")[-1] if name.startswith("~") else name


class RestMarkup(griffe.Extension):
    """Converts every docstring before it is rendered."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Convert the docstring of one module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = to_markdown(obj.docstring.value)
