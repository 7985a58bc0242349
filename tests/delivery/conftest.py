"""A certificate authority, and what it certifies."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from relay.delivery.tls import TlsContexts


@dataclass
class Authority:
    """`server(name)` makes a server's TLS context; `contexts` trust this authority only."""

    ca: trustme.CA
    contexts: TlsContexts

    def server(self, *names: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(*names).configure_cert(context)
        return context


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    ca = trustme.CA()
    path: Path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return Authority(ca, TlsContexts.make(path))
