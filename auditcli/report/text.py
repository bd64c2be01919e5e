"""Strings of strangers, made fit to print: names of files, layers and labels come out of somebody else's model file.

Public names: `clean`, `plain`, `code`, `attribute`, `path`, `options`.
"""

import re
import unicodedata
from urllib.parse import quote

from markupsafe import Markup, escape

INLINE = re.compile(r"[\\`*\[\]~$]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=\bwww)\.", re.IGNORECASE)
"""What makes Markdown inside a line; an underscore within a word is none, and bare addresses become links on GitHub."""
LEAD = re.compile(r"^(\d*)([-+](?=[-\s]|$)|[#=]|(?<=\d)[.)](?=\s|$))")
"""What would open a list, a heading or a rule at the start of a line."""
OPTION = re.compile(r"((?<![\w-])--[a-z][a-z-]{0,30})")
"""An option of the command line, inside a sentence."""
CODE = re.compile(r"[\w ./:=,+@%-]+", re.ASCII)


def clean(text: str) -> str:
    """`text` on one line: white space folded to single spaces, and no control or direction characters.

    A right-to-left override in a file name can make a report say what it does not say. The two joiners stay: words of
    some languages need them.
    """
    spaced = " ".join(text.split())
    if spaced.isprintable():  # no control, format or surrogate character: nearly every text, and the page has thousands
        return spaced
    return "".join("\N{REPLACEMENT CHARACTER}" if _is_control(character) else character for character in spaced)


def _is_control(character: str) -> bool:
    joiners = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"
    return unicodedata.category(character) in {"Cc", "Cf", "Cs"} and character not in joiners


def plain(text: str) -> Markup:
    """`text` as Markdown that shows exactly this text, in a paragraph, a list or a table cell.

    HTML and the cell border become entities, Markdown is escaped by backslashes.
    """
    escaped = INLINE.sub(r"\\\g<0>", clean(text))
    escaped = LEAD.sub(r"\1\\\2", escaped)
    for character in "&<>|":
        escaped = escaped.replace(character, f"&#{ord(character)};")
    return Markup(escaped)  # noqa: S704  every special character is escaped above


def code(text: str) -> Markup:
    """`text` as Markdown code, or as `plain` text where it holds what a code span cannot."""
    cleaned = clean(text)
    return Markup(f"`{cleaned}`") if CODE.fullmatch(cleaned) else plain(cleaned)  # noqa: S704  no backtick, no markup


def attribute(text: str) -> Markup:
    """`text` inside the quotes of an HTML attribute, in HTML and in a Markdown table: all punctuation as entities."""
    return Markup(re.sub(r"[^\w .-]", lambda match: f"&#{ord(match[0])};", clean(text)))  # noqa: S704


def path(text: str) -> Markup:
    """`text` as a relative address: everything but letters, digits, `/` and `._-~` percent-encoded."""
    return Markup(quote(text))  # noqa: S704


def options(text: str) -> Markup:
    """`text` as HTML with the options of the command line in it as code, which no line break tears apart."""
    pieces = enumerate(OPTION.split(clean(text)))
    return Markup("").join(Markup("<code>{}</code>").format(piece) if at % 2 else escape(piece) for at, piece in pieces)
