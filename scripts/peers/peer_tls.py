"""TLS for the DIMSE peers that are written with pynetdicom.

NEPHOS_PEER_TLS=CERT,KEY: PEM files. Both sides show this certificate and trust it alone; without the variable nothing is TLS.
"""

import os
import ssl


def _files():
    return os.environ.get("NEPHOS_PEER_TLS", "").split(",")


def client():
    """tls_args of AE.associate; it goes to 127.0.0.1, and the certificate must say so"""
    cert, *key = _files()
    if not cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=cert)
    context.load_cert_chain(cert, key[0])
    return context, "127.0.0.1"


def server():
    """ssl_context of AE.start_server; who calls must show the certificate"""
    cert, *key = _files()
    if not cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=cert)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(cert, key[0])
    return context
