"""What the weights of a dense network say by themselves: the span of its first layer, and gradients at that layer.

Public names: `span`, `span_of`, `written`, `base_of`, `margin_gradients`, `margins`, `Margins`, `Sides`, `explained`,
`leave_one_out`, `flat_inputs`, `shuffled`, `shuffled_target`.
"""

from auditcli.weights.difference import base_of, written
from auditcli.weights.explained import explained, leave_one_out
from auditcli.weights.inputs import flat_inputs
from auditcli.weights.margin import Margins, Sides, margin_gradients, margins
from auditcli.weights.shuffle import shuffled, shuffled_target
from auditcli.weights.span import span, span_of

__all__ = [
    "Margins",
    "Sides",
    "base_of",
    "explained",
    "flat_inputs",
    "leave_one_out",
    "margin_gradients",
    "margins",
    "shuffled",
    "shuffled_target",
    "span",
    "span_of",
    "written",
]
