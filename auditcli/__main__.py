"""`python -m auditcli`, and the `privaudit` command."""

import sys
import traceback
from collections.abc import Sequence

from auditcli import cli, policy


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line; the exit codes are those of `auditcli.policy`.

    Args:
        words: What follows `privaudit`; None takes it from `sys.argv`.
    """
    try:
        return cli.run(sys.argv[1:] if words is None else words)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return policy.INTERRUPTED
    except Exception:
        traceback.print_exc()
        sys.stderr.write("This is a bug in privaudit, not a finding about the model.\n")
        return policy.OUR_BUG


if __name__ == "__main__":
    sys.exit(main())
