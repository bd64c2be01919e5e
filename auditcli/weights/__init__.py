"""What the weights of a dense network say by themselves: the span of its first layer, and gradients at that layer.

Public names: `WeightSpan`, `span`, `margin_gradients`, `Sides`, `explained`, `shuffled`.
"""

from auditcli.weights.explained import explained
from auditcli.weights.margin import Sides, margin_gradients
from auditcli.weights.shuffle import shuffled
from auditcli.weights.span import WeightSpan, span

__all__ = ["Sides", "WeightSpan", "explained", "margin_gradients", "shuffled", "span"]
