"""Reads the images an auditor holds: a folder of image files or an `.npz`, exactly as they are.

Public names: `read_sample`, `count_images`, `require_disjoint`, `duplicates`, `shape_of`.

Nothing is resized, cropped or converted: an image that does not fit the model is an error, because a silent resize
would change what "similar to a training image" means. Nothing is unpickled, and every size is read from a header and
checked before memory is taken for it.
"""

from auditcli.images._sample import count_images, duplicates, read_sample, require_disjoint
from auditcli.images._shape import shape_of

__all__ = ["count_images", "duplicates", "read_sample", "require_disjoint", "shape_of"]
