"""The command line: parse, call a stage, print. What the commands do is in `hume_ssl.stages`."""

from hume_ssl.cli.main import main

__all__ = ["main"]
