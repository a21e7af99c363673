"""``saesweep``, and ``python -m saesweep``."""

import signal
import sys


def main() -> None:
    """Run the command line, from its first import on."""
    try:
        from saesweep import terminal

        with terminal.nothing_to_lose():
            from saesweep.cli import app
        terminal.start(app)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        # One that comes while Python cleans up would be told with a traceback.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    main()
