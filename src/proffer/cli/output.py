"""What commands print, and how they complain."""

import sys

from proffer.errors import ProfferError


def complain(error: ProfferError) -> None:
    """An error on stderr: what, then each mistake with where and how to mend it."""
    print(f"proffer: {error.detail}", file=sys.stderr)
    for finding in error.findings:
        where = f"{finding.path}: " if finding.path else ""
        if finding.line is not None:
            where = f"line {finding.line}, column {finding.column}: "
        if where or finding.message != error.detail:
            print(f"  {where}{finding.message}", file=sys.stderr)
        if finding.help:
            print(f"    {finding.help}", file=sys.stderr)
