"""Forks as a server in C does, without the hooks of Python, with a refresh in the air; then both verify."""

from __future__ import annotations

import ctypes
import os
import sys

from service import is_refreshing, verifier

token = sys.argv[1]
assert is_refreshing()
sys.stdout.write("forked\n")
sys.stdout.flush()
child = ctypes.PyDLL(None).fork()  # PyDLL keeps the interpreter's lock, as embedding servers do
if child == 0:
    verifier.verify(token)
    os.write(1, b"child verified\n")
    os._exit(0)
sys.stdin.readline()
verifier.verify(token)
_, status = os.waitpid(child, 0)
assert status == 0
sys.stdout.write("parent verified\n")
