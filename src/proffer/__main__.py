"""`python -m proffer`: the command line."""

from proffer.cli.main import run

run()
