"""TLS of the HTTP interface: the certificate that is shown, and those that clients must have.

Owns the making of a context from PEM files, and its exchange: ``renew`` reads the files again, and
connections from then on get what is in them. Versions and ciphers are OpenSSL's choice, TLS 1.2
at least. ALPN (RFC 7301) offers HTTP/1.1 only: ``http/connection.py`` speaks nothing else.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, Final, Protocol

from alertd.errors import InvalidInput, Problem

CLIENT_NAME: Final = "client_name"
"""Where an ASGI application finds, in the scope's ``state``, the name in a client's certificate."""


class TlsFiles(Protocol):
    """Where the files are; ``ServerConfig`` says it."""

    @property
    def tls_cert(self) -> str | None:
        """The certificate chain; None for plain HTTP."""

    @property
    def tls_key(self) -> str | None:
        """Its key; None if it is in ``tls_cert``."""

    @property
    def client_ca(self) -> str | None:
        """Whose certificates clients must have; None if they need none."""


class Tls:
    """The context for the next connection."""

    def __init__(self, files: TlsFiles) -> None:
        """Read the files. Raises ``InvalidInput``; blocks."""
        self._files = files
        self.context = make_context(files)
        """None for plain HTTP."""

    def renew(self) -> None:
        """Read the files again. Raises ``InvalidInput``, and the old context stays; blocks."""
        self.context = make_context(self._files)


def make_context(files: TlsFiles) -> ssl.SSLContext | None:
    """Return a context of what is in ``files``, None for plain HTTP.

    Raises ``InvalidInput`` whose path is the key of ``[server]``. Blocks.
    """
    if files.tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Without somebody who gives a password, OpenSSL would ask for one at the terminal.
        context.load_cert_chain(files.tls_cert, files.tls_key, password=lambda: "")
    except (OSError, ValueError) as error:
        raise _unusable(
            "/tls_cert", "a certificate and its key without a password", error
        ) from error
    if files.client_ca is not None:
        try:
            context.load_verify_locations(files.client_ca)
        except (OSError, ValueError) as error:
            raise _unusable("/client_ca", "certificates of authorities", error) from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


# Any: ``ssl.SSLSocket.getpeercert`` nests tuples in a way that typing has no name for.
def name_in(certificate: Mapping[str, Any] | None) -> str | None:
    """Return whose certificate it is: its common name, else its first other name; None if none."""
    if not certificate:
        return None
    subject = {key: value for part in certificate.get("subject", ()) for key, value in part}
    others = [value for _, value in certificate.get("subjectAltName", ())]
    name = subject.get("commonName") or next(iter(others), None)
    return None if name is None else str(name)


def _unusable(path: str, expected: str, error: Exception) -> InvalidInput:
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "it is not PEM").lower().replace("_", " ")
    else:
        reason = getattr(error, "strerror", None) or str(error)
    message = f"expected {expected}, PEM, readable for the user that alertd runs as: {reason}"
    return InvalidInput([Problem(path, message)])
