"""`python -m lesionloss.integrations.nnunet.one_training WORDS`: nnUNetv2_train that ends with the process above it.

That process keeps the standard input open. When it ends, however it ends, so does this one, with nnU-Net's workers,
which would wait for ever. This process must lead a session of its own.
"""

import os
import signal
import sys
import threading

from lesionloss.integrations.nnunet.installation import call


def main() -> None:
    """Train as the arguments say."""
    threading.Thread(target=_end_with_input, daemon=True).start()
    call("train", sys.argv[1:])


def _end_with_input() -> None:
    os.read(0, 1)  # returns at the end of the input
    os.killpg(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
