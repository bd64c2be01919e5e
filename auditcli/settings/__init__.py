"""Settings: options that a file gives, and where the value of each option came from.

Public names: `locate`, `read`, `Document` (what a file says), `apply` (what it says for one command), `Settings`,
`Origin`, `origin_of`, `settings_of`, `keep`, `as_options`.

A setting is an option: its key is the option's long name, its value what would be typed. So nothing is declared or
checked here that the options do not say of themselves, and click does the rest through its map of defaults.
"""

from auditcli.settings._apply import Settings, apply
from auditcli.settings._file import Document, locate, read
from auditcli.settings._origin import Origin, as_options, keep, origin_of, settings_of

__all__ = [
    "Document",
    "Origin",
    "Settings",
    "apply",
    "as_options",
    "keep",
    "locate",
    "origin_of",
    "read",
    "settings_of",
]
