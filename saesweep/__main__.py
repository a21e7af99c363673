"""``python -m saesweep``."""

from saesweep.cli import main

main()
