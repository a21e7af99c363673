"""``saesweep``, and ``python -m saesweep``."""

import os
import signal
import sys

SPINS = "1000"
"""How often a thread of GNU's OpenMP looks whether there is work before it sleeps, about 50 µs.

By default it looks 300,000 times, and keeps the core from whoever has the work: two toy sweeps at
once on two cores took 15 times as long as one alone, and with this 2.3 times. One alone takes as
long as before (benchmarks/crowded.py, docs/benchmarks.md)."""


def main() -> None:
    """Run the command line, from its first import on."""
    if "OMP_WAIT_POLICY" not in os.environ:  # read once, when torch is imported
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    try:
        from saesweep import terminal

        with terminal.nothing_to_lose():
            from saesweep.cli import app, completing
        if os.environ.get("_SAESWEEP_COMPLETE") == "complete_bash":
            completing.for_bash(app)
        else:
            terminal.start(app)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        # One that comes while Python cleans up would be told with a traceback.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    main()
