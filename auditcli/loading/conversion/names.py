"""Names of values and operators that no converter can trip over: `plainly_named`.

Converters write Python source with these names in it and compile it. An operator called `a", f(), "` would be run.
"""

from __future__ import annotations

import re
from dataclasses import replace

from auditcli.loading.conversion.draft import Draft, rewritten

_LONGEST = 60


def plainly_named(draft: Draft) -> Draft:
    """The draft with short, distinct names of letters, digits and underscores, weights as `w_...`."""
    weight, value = _Names("w_"), _Names("v_")
    constants = {weight(name): array for name, array in draft.constants.items()}

    def plain(name: str) -> str:
        return name if not name else weight(name) if name in draft.constants else value(name)

    nodes = []
    for index, node in enumerate(draft.nodes):
        copy = rewritten(node, inputs=map(plain, node.input), outputs=map(plain, node.output))
        copy.name, copy.doc_string = f"{node.op_type}_{index}", ""
        del copy.metadata_props[:]
        nodes.append(copy)
    return replace(
        draft,
        nodes=tuple(nodes),
        constants=constants,
        input_name=plain(draft.input_name),
        output_name=plain(draft.output_name),
    )


class _Names(dict[str, str]):
    """Plain names by the original ones."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self.prefix = prefix
        self.taken: set[str] = set()

    def __call__(self, name: str) -> str:
        if name not in self:
            wish = self.prefix + re.sub(r"[^A-Za-z0-9]", "_", name)[:_LONGEST]
            self[name] = wish if wish not in self.taken else f"{wish}__{len(self.taken)}"
            self.taken.add(self[name])
        return self[name]
