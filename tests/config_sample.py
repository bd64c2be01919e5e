"""For the tests of settings: an empty repository, an audit that only notes what it is asked for, and files."""

import os
import sys
import types as python_types
from pathlib import Path

from cli_sample import sample_report


def empty_repository(monkeypatch, folder):
    """A new working directory, which is a repository below home, and no settings of the machine."""
    for name in list(os.environ):
        if name.startswith("PRIVAUDIT_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(folder))
    root = folder / "repository"
    (root / ".git").mkdir(parents=True)
    monkeypatch.chdir(root)
    return root


def asked(monkeypatch):
    """What an audit was asked for, in place of the audit."""
    options = {}

    def audit(path, **given):
        options.update(given, path=path)
        return sample_report()

    module = python_types.ModuleType("auditcli.auditing")
    module.audit = audit
    monkeypatch.setitem(sys.modules, "auditcli.auditing", module)
    return options


def write(text, file="privaudit.toml"):
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
