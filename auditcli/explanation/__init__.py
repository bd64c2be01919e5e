"""What a model looks for, as a document: its schema, and how it is written. Nothing here imports torch.

Public names: `Explanation`, `render`, `write`, and the module `schema`.
"""

from auditcli.explanation import schema
from auditcli.explanation.schema import Explanation
from auditcli.explanation.views import render, write

__all__ = ["Explanation", "render", "schema", "write"]
