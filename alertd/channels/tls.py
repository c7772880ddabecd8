"""Whom to trust, and why a connection failed: what HTTP and SMTP share below their protocols.

Owns the choice of certificate authorities and the wording of operating system and TLS errors.
Certificates and host names are always verified.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from typing import Final

import httpx

_NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"})
"""What versions of OpenSSL call an answer that is not TLS."""


def load_ssl_context(ca_file: str | None) -> ssl.SSLContext:
    """Return a verifying client context. Takes 0.1 s: call it from a worker thread.

    ``ca_file`` names the only authorities to trust. Without it they are Mozilla's, which httpx
    brings along, and those that the administrator has installed.
    """
    if ca_file is not None:
        return ssl.create_default_context(cafile=ca_file)
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context


def describe_cause(error: BaseException) -> str:
    """Return the operating system's or OpenSSL's words for why a connection failed.

    They hold no address beyond the host that was looked up.
    """
    for cause in _chain(error):
        match cause:
            case ssl.SSLCertVerificationError():
                return f"its certificate is not trusted ({cause.verify_message})"
            case ssl.SSLError() if speaks_no_tls(cause):
                return "what answers there speaks no TLS; check the port, and whether TLS is meant"
            case ssl.SSLError():
                return f"TLS failed ({cause.reason or 'no reason given'})"
            case socket.gaierror():
                return f"the name cannot be resolved ({cause.strerror})"
            case OSError() if cause.errno is not None:
                return os.strerror(cause.errno)  # trio's own text has the address in it
            case TimeoutError():
                return "timed out"
    return "connection failed"


def tls_fault(error: BaseException) -> str | None:
    """Return what ``describe_cause`` does where it is TLS that failed, else None."""
    is_tls = any(isinstance(cause, ssl.SSLError) for cause in _chain(error))
    return describe_cause(error) if is_tls else None


def speaks_no_tls(error: BaseException) -> bool:
    """Return whether ``error`` says that the other side speaks something else than TLS."""
    return isinstance(error, ssl.SSLError) and error.reason in _NO_TLS


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield ``error`` and what it was raised from; of a group the first member."""
    current: BaseException | None = error
    for _ in range(16):
        if current is None:
            return
        yield current
        if isinstance(current, BaseExceptionGroup):
            current = current.exceptions[0]
        else:
            current = current.__cause__ or current.__context__
