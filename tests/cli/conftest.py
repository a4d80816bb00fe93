"""The command line as a fixture."""

from cli.commands import proffer

__all__ = ["proffer"]
