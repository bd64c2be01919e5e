"""ONNX graphs as torch modules that are known to compute the same.

Public names: `Draft`, `Shape`, `Value`, `described`, `Converted` and `convert`.
"""

from auditcli.loading.conversion.conversion import Converted, convert
from auditcli.loading.conversion.draft import Draft, Shape, Value, described

__all__ = ["Converted", "Draft", "Shape", "Value", "convert", "described"]
