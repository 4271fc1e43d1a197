"""TensorFlow without what its C++ part prints."""

from __future__ import annotations

import os
import sys


def import_tensorflow() -> None:
    """Import TensorFlow without its notes on processors and drivers.

    They go to the file descriptor before any log level is read, and hide what a user should read.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        import tensorflow as tf

        tf.config.list_physical_devices()  # asks the driver, which prints as well
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
