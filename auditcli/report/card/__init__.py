"""The privacy part of a Hugging Face model card: a section, metadata in the front matter, and pictures beside it.

Public names: `render`, `BEGIN`, `END`, `Draft`, `refreshed`, `removed`.
A card belongs to its author: each part is put in, renewed and taken out by itself, and nothing else is touched.
"""

from auditcli.report.card._draft import Draft, refreshed, removed
from auditcli.report.card._section import BEGIN, END, render

__all__ = ["BEGIN", "END", "Draft", "refreshed", "removed", "render"]
