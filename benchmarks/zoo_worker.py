"""One audit in a process of its own: `python zoo_worker.py MODEL MEMBERS CONTROLS OUTPUT SEED SHADOWS`.

Writes `{"seconds": ..., "report": ...}` to OUTPUT, whole or not at all.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

import auditcli


def main() -> None:
    """Audit with default settings, and no picture in the report."""
    model, members, controls, output, seed, shadows = sys.argv[1:]
    torch.set_num_threads(1)
    more: dict[str, Any] = {"shadows": int(shadows)} if int(shadows) else {}
    began = time.monotonic()
    report = auditcli.audit(
        model, reference=members, controls=controls, seed=int(seed), names=True, reconstructions="none", **more
    )
    result = {"seconds": time.monotonic() - began, "report": json.loads(report.to_json())}
    partial = Path(output).with_suffix(".part")
    partial.write_text(json.dumps(result) + "\n", encoding="utf-8")
    partial.replace(output)


if __name__ == "__main__":
    main()
