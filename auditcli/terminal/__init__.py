"""What a person sees: progress and errors on stderr, verdict and tables on stdout.

Public names: `Display` (a `Watcher`), `show_error`, `show_report`, `show_profile`, `show_plan`, `show_prospect`,
`show_names`, `show_plugins`, `show_candidates`, `show_traceback`, `stdout`, `stderr`, `write`, `plain`.

Everything that came out of a file is printed as text, without markup and control characters, so that a model cannot
draw on the auditor's terminal. rich honours NO_COLOR, and every colour has a word beside it.
"""

from auditcli.terminal._console import plain, show_candidates, show_error, show_traceback, stderr, stdout, write
from auditcli.terminal._model import show_plugins, show_profile
from auditcli.terminal._names import show_names
from auditcli.terminal._plan import show_plan, show_prospect
from auditcli.terminal._progress import Display
from auditcli.terminal._report import STYLES, show_report

__all__ = [
    "STYLES",
    "Display",
    "plain",
    "show_candidates",
    "show_error",
    "show_names",
    "show_plan",
    "show_plugins",
    "show_profile",
    "show_prospect",
    "show_report",
    "show_traceback",
    "stderr",
    "stdout",
    "write",
]
