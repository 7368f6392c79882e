"""Forks with a refresh in the air, and no hook of the library runs; then parent and child verify the token.

The cheap twin of a server in C: what the interpreter itself and its standard library renew is renewed, since
a child without those hooks could wait for threads that are not there, whatever it runs.
"""

# ruff: noqa: E402, F401  # the standard library's hooks come first, and the library's find no way to be registered

from __future__ import annotations

import concurrent.futures.thread
import logging
import os
import random
import sys
import threading
import warnings

del os.register_at_fork

from service import is_refreshing, verifier

warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads
token = sys.argv[1]
assert is_refreshing()
sys.stdout.write("forking\n")
sys.stdout.flush()
child = os.fork()
if child == 0:
    verifier.verify(token)
    os.write(1, b"child verified\n")
    os._exit(0)
sys.stdin.readline()
verifier.verify(token)
_, status = os.waitpid(child, 0)
assert status == 0
sys.stdout.write("parent verified\n")
