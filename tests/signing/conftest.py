"""Keys of each kind, made once: an RSA key takes a tenth of a second."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from relay.signing.make import make_private_key


@pytest.fixture(scope="session")
def rsa() -> RSAPrivateKey:
    key = make_private_key("rsa")
    assert isinstance(key, RSAPrivateKey)
    return key


@pytest.fixture(scope="session")
def ed25519() -> Ed25519PrivateKey:
    key = make_private_key("ed25519")
    assert isinstance(key, Ed25519PrivateKey)
    return key
