"""What the weights of a dense network say by themselves: the span of its first layer, and gradients at its layers.

Public names: `span`, `span_of`, `whole`, `written`, `base_of`, `backward`, `margin_gradients`, `margin_pull`,
`margins`, `Margins`, `Sides`, `terms`, `Lower`, `explained`, `leave_one_out`, `flat_inputs`,
`flat_normalisation`, `shuffled`, `shuffled_target`.
"""

from auditcli.weights.backward import backward
from auditcli.weights.difference import base_of, written
from auditcli.weights.explained import explained, leave_one_out
from auditcli.weights.inputs import flat_inputs, flat_normalisation
from auditcli.weights.lower import Lower
from auditcli.weights.margin import Margins, Sides, margin_gradients, margin_pull, margins
from auditcli.weights.shuffle import shuffled, shuffled_target
from auditcli.weights.span import span, span_of
from auditcli.weights.stationarity import terms
from auditcli.weights.whole import whole

__all__ = [
    "Lower",
    "Margins",
    "Sides",
    "backward",
    "base_of",
    "explained",
    "flat_inputs",
    "flat_normalisation",
    "leave_one_out",
    "margin_gradients",
    "margin_pull",
    "margins",
    "shuffled",
    "shuffled_target",
    "span",
    "span_of",
    "terms",
    "whole",
    "written",
]
