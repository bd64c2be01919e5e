"""What the weights of a dense network say by themselves: the span of its first layer, and gradients at that layer.

Public names: `WeightSpan`, `span`, `margin_gradients`, `Sides`, `explained`, `flat_inputs`, `shuffled`.
"""

from auditcli.weights.explained import explained
from auditcli.weights.inputs import flat_inputs
from auditcli.weights.margin import Sides, margin_gradients
from auditcli.weights.shuffle import shuffled
from auditcli.weights.span import WeightSpan, span

__all__ = ["Sides", "WeightSpan", "explained", "flat_inputs", "margin_gradients", "shuffled", "span"]
