"""What a model's file leaves open, decided by images where they can: `resolve`.

A hypothesis is the model with one answer to everything that is open or was assumed. Batch norm recorded the statistics
of its inputs in training, which only the right network finds again in images of the same kind; and the right network is
right on more labelled images. A hypothesis is chosen where a paired comparison on the same images says so, and what
images cannot tell apart stays as it was: an assumption, or a question.
"""

from auditcli.hypotheses._resolve import resolve

__all__ = ["resolve"]
