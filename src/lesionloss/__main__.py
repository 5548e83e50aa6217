"""The program, `lesionloss` or `python -m lesionloss`."""

import sys

INTERRUPTED = 130


def main() -> None:
    """Run the command line; Ctrl-C while it is imported ends without a traceback, too."""
    try:
        from lesionloss.cli import main as run
    except KeyboardInterrupt:
        sys.stderr.write("lesionloss: interrupted; nothing was done\n")
        sys.exit(INTERRUPTED)
    run()


if __name__ == "__main__":
    main()
