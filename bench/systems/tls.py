"""A CA and a server certificate for the peers: ECDSA P-256, as `relay init` makes."""

from pathlib import Path

import trustme


def write_certificate(directory: Path) -> None:
    """`ca.pem` for clients; `cert.pem`, `key.pem` and, in one file, `chain.pem` for the server."""
    directory.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    leaf = authority.issue_cert("localhost", "127.0.0.1", key_type=trustme.KeyType.ECDSA)
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    leaf.cert_chain_pems[0].write_to_path(str(directory / "cert.pem"))
    leaf.private_key_pem.write_to_path(str(directory / "key.pem"))
    leaf.private_key_and_cert_chain_pem.write_to_path(str(directory / "chain.pem"))
