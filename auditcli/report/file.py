"""Files that are written whole or not at all. Public name: `replace`."""

import os
import secrets
from pathlib import Path


def replace(path: Path, content: bytes) -> Path:
    """Writes a file under another name and then moves it into place; a link in place is replaced, not followed."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
