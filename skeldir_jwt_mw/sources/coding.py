"""Content codings (RFC 9110 §8.4): which of them change what a body says."""

from __future__ import annotations

import re

# The registry of RFC 9110 §16.6.1 without identity, and what servers send besides. Other names say nothing:
# `UTF-8` and `aws-chunked` are mistakes of servers whose body is plain JSON.
# fmt: off
COMPRESSIONS = frozenset((
    "aes128gcm", "br", "bzip2", "compress", "dcb", "dcz", "deflate", "exi", "gzip", "lz4", "pack200-gzip",
    "snappy", "x-bzip2", "x-compress", "x-deflate", "x-gzip", "xz", "zstd",
))
# fmt: on

_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~, \t]*\Z")  # of tokens (RFC 9110 §5.6.2), with commas


def is_coded(value: str) -> bool:
    """Does a `Content-Encoding` name a compression or an encryption, or is it none that can be read?"""
    if _NAMES.match(value) is None:
        return True
    return any(name.strip().lower() in COMPRESSIONS for name in value.split(","))
