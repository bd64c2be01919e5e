"""What a person sees: progress and errors on stderr, verdict and tables on stdout.

Public names: `Display` (a `Watcher`), `show_error`, `show_report`, `show_ruling`, `show_comparison`,
`comparison_text`, `show_profile`, `show_plan`, `show_prospect`, `show_starts`, `show_names`, `show_plugins`,
`show_settings`, `show_config`, `show_explanation`, `show_step`, `show_table`, `show_candidates`, `show_traceback`,
`stdout`, `stderr`, `write`, `plain`.

Everything that came out of a file is printed as text, without markup and control characters, so that a model cannot
draw on the auditor's terminal. rich honours NO_COLOR, and every colour has a word beside it.
"""

from auditcli.terminal._comparison import comparison_text, show_comparison
from auditcli.terminal._console import (
    plain,
    show_candidates,
    show_error,
    show_table,
    show_traceback,
    stderr,
    stdout,
    write,
)
from auditcli.terminal._explanation import show_explanation, show_step
from auditcli.terminal._model import show_plugins, show_profile
from auditcli.terminal._names import show_names
from auditcli.terminal._plan import show_plan, show_prospect
from auditcli.terminal._progress import Display
from auditcli.terminal._report import STYLES, show_report
from auditcli.terminal._ruling import show_ruling
from auditcli.terminal._settings import show_config, show_settings
from auditcli.terminal._starts import show_starts

__all__ = [
    "STYLES",
    "Display",
    "comparison_text",
    "plain",
    "show_candidates",
    "show_comparison",
    "show_config",
    "show_error",
    "show_explanation",
    "show_names",
    "show_plan",
    "show_plugins",
    "show_profile",
    "show_prospect",
    "show_report",
    "show_ruling",
    "show_settings",
    "show_starts",
    "show_step",
    "show_table",
    "show_traceback",
    "stderr",
    "stdout",
    "write",
]
