"""What the weights of a dense network say by themselves: the span of its first layer, and gradients at that layer.

Public names: `span`, `margin_gradients`, `margin_pull`, `backward`, `Sides`, `terms`, `Lower`, `explained`,
`leave_one_out`, `flat_inputs`, `shuffled`, `shuffled_target`, `whole`.
"""

from auditcli.weights.explained import explained, leave_one_out
from auditcli.weights.inputs import flat_inputs
from auditcli.weights.lower import Lower
from auditcli.weights.margin import Sides, backward, margin_gradients, margin_pull
from auditcli.weights.shuffle import shuffled, shuffled_target
from auditcli.weights.span import span
from auditcli.weights.stationarity import terms
from auditcli.weights.whole import whole

__all__ = [
    "Lower",
    "Sides",
    "backward",
    "explained",
    "flat_inputs",
    "leave_one_out",
    "margin_gradients",
    "margin_pull",
    "shuffled",
    "shuffled_target",
    "span",
    "terms",
    "whole",
]
