"""Which troubles of a fetch are this process's own, so that no fleet backs off from a provider for them."""

from __future__ import annotations

import errno
import os
import socket
import ssl

from skeldir_jwt_mw.core.effects import LocalFetchFailed

RESOLVER_FILE = "/etc/resolv.conf"

# Of a socket that is made or connected. ENETUNREACH is nearly always said by this host, which has no route,
# and not EHOSTUNREACH, which routers say of the provider's network. EACCES and EPERM are said by this host's
# own firewall or sandbox.
# fmt: off
_ERRNOS = frozenset((
    errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT,
    errno.EPROTONOSUPPORT, errno.ENETUNREACH, errno.ENETDOWN, errno.EACCES, errno.EPERM,
))
# fmt: on


def own_trouble(error: BaseException) -> LocalFetchFailed | None:
    """The failed fetch of this process that the error stands for, or None where it may be the provider's."""
    if isinstance(error, LocalFetchFailed):
        return error
    if isinstance(error, MemoryError):
        return LocalFetchFailed("this process has no memory left")
    if isinstance(error, ImportError) or type(error) is LookupError:  # the latter for a codec
        return LocalFetchFailed("this process cannot load what a fetch needs")
    if isinstance(error, RuntimeError) and "thread" in str(error):
        return LocalFetchFailed("this process cannot start a thread")
    # The numbers in an SSLError and a gaierror are of another kind.
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError | socket.gaierror):
        number = error.errno
        if number in _ERRNOS:
            return LocalFetchFailed(f"this process cannot connect to anything ({errno.errorcode[number]})")
    return None


def resolver_trouble(error: OSError) -> LocalFetchFailed | None:
    """As `own_trouble`, for a name that was not resolved: is it that this process has no resolver?

    A name that does not exist, and a name server that does not answer, are not this process's trouble.
    """
    trouble = own_trouble(error)
    if trouble is None and (
        not isinstance(error, socket.gaierror) or error.errno == socket.EAI_MEMORY or not _can_resolve()
    ):
        trouble = LocalFetchFailed("this process cannot use the system's resolver")
    return trouble


def _can_resolve() -> bool:
    """The resolver opens this file too, and says of any trouble with it that the name is not known."""
    if os.name != "posix":
        return True
    try:
        with open(RESOLVER_FILE, "rb"):
            return True
    except OSError:
        return False


def has_authorities(context: ssl.SSLContext) -> bool:
    """Does a context that trusts the system's authorities know any? Without, no certificate is trusted."""
    if context.cert_store_stats()["x509"]:
        return True
    folder = ssl.get_default_verify_paths().capath  # read by OpenSSL when it needs it
    try:
        return folder is not None and bool(os.listdir(folder))
    except OSError:
        return False
