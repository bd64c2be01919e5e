"""The flow from a model to its explanation: load, look for places it leans on, draw its classes, score images.

Public name: `explain`.
"""

from auditcli.explaining._explain import explain

__all__ = ["explain"]
