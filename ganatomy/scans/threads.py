"""Matrix products of one scan on one thread."""

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController


@cache
def _controller() -> ThreadpoolController:
    # Made once NumPy is loaded: it looks for the libraries that are there.
    return ThreadpoolController()


def one_thread() -> AbstractContextManager:
    """Keep BLAS to one thread inside the `with`.

    The products of one scan are small: with two threads they take four times the processor time,
    and many scans are read by as many processes anyway.
    """
    return _controller().limit(limits=1, user_api="blas")
