"""`python -m evtool` is `evtool`."""

from evtool.cli.main import main

main()
