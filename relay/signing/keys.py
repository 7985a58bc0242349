"""The private keys that mail is signed with: read once, checked once, found by identity.

Owns what a signing key is and which keys sign for an identity. A key that cannot be used (missing,
not PEM, encrypted, too short, of another kind) makes `KeyRing.load` fail with every such key named,
so that a running relay keeps the ring it has. Key material never appears in a message or a `repr`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Literal, Self, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from relay.config.identities import dkim_keys_for
from relay.config.model import Config, DkimKey, Identity
from relay.mail.envelope import domain_of

Algorithm = Literal["rsa-sha256", "ed25519-sha256"]
PrivateKey = RSAPrivateKey | Ed25519PrivateKey

SMALLEST_RSA_BITS = 1024  # RFC 8301 §3.2: verifiers reject less
QUICK_RSA_BITS = 2048  # twice as many take seven times as long

_PADDING, _SHA256 = PKCS1v15(), SHA256()


class KeyFileError(ValueError):
    """One or more keys cannot be used. `problems` has a sentence for each."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key with the name under which DNS has its public half: `selector` at `domain`.

    `algorithm` is the value of the signature's a= tag. `is_slow` says that a signature takes much
    longer than the usual quarter of a millisecond: the loop of a process has no time for it.
    """

    domain: str
    selector: str
    private: PrivateKey = field(repr=False)
    relaxed_body: bool = False
    algorithm: Algorithm = field(init=False)
    is_slow: bool = field(init=False)

    def __post_init__(self) -> None:
        # Known once, because asking what kind a key is takes as long as the rest of `sign`.
        is_rsa = isinstance(self.private, RSAPrivateKey)
        object.__setattr__(self, "algorithm", "rsa-sha256" if is_rsa else "ed25519-sha256")
        is_slow = isinstance(self.private, RSAPrivateKey) and self.private.key_size > QUICK_RSA_BITS
        object.__setattr__(self, "is_slow", is_slow)

    def sign(self, data: bytes) -> bytes:
        """The signature over the SHA-256 of `data` (RFC 6376 §3.3, RFC 8463 §3)."""
        if self.algorithm == "rsa-sha256":
            return cast("RSAPrivateKey", self.private).sign(data, _PADDING, _SHA256)
        return cast("Ed25519PrivateKey", self.private).sign(sha256(data).digest())


class KeyRing:
    """All signing keys of one configuration. Immutable, and safe to use from any thread."""

    def __init__(
        self,
        identities: Mapping[str, Identity],
        keys: Mapping[tuple[str, DkimKey], SigningKey],
    ) -> None:
        """`keys` holds what each identity's entries stand for, by signing domain and entry."""
        self._identities = identities
        self._keys = dict(keys)
        self._by_identity = {name: self._find(name, name) for name in identities}
        self.wants_relaxed = any(key.relaxed_body for key in self)

    @classmethod
    def load(cls, config: Config) -> Self:
        """Read every key that the identities of `config` name. Raises `KeyFileError`."""
        problems: list[str] = []
        read: dict[Path, PrivateKey] = {}
        keys: dict[tuple[str, DkimKey], SigningKey] = {}
        for name, identity in config.identities.items():
            domain = domain_of(name)
            for number, entry in enumerate(identity.dkim):
                try:
                    if entry.key not in read:  # checking a key takes tens of milliseconds
                        read[entry.key] = read_private_key(entry.key)
                except KeyFileError as error:
                    problems.append(f"identities.{name}.dkim[{number}]: {error}")
                else:
                    keys[domain, entry] = SigningKey(
                        domain=domain,
                        selector=entry.selector,
                        private=read[entry.key],
                        relaxed_body=entry.canonicalization == "relaxed/relaxed",
                    )
        if problems:
            raise KeyFileError(*problems)
        return cls(config.identities, keys)

    def keys_for(self, identity: str, from_domain: str) -> tuple[SigningKey, ...]:
        """The keys that sign for `identity`, as `config.identities.dkim_keys_for` picks them.

        `from_domain` stands in for an identity that has left the configuration since the message
        came in. Empty where nothing applies: the mail goes unsigned.
        """
        known = self._by_identity.get(identity)
        return self._find(identity, from_domain) if known is None else known

    def __iter__(self) -> Iterator[SigningKey]:
        """Every key once."""
        return iter(self._keys.values())

    def _find(self, identity: str, from_domain: str) -> tuple[SigningKey, ...]:
        domain, entries = dkim_keys_for(self._identities, identity, from_domain)
        return tuple(self._keys[domain, entry] for entry in entries)


def read_private_key(path: Path) -> PrivateKey:
    """The RSA or Ed25519 key in a PEM file. Raises `KeyFileError` with the reason."""
    try:
        pem = path.read_bytes()
    except OSError as error:
        raise KeyFileError(f"{path}: the key cannot be read: {error.strerror}") from error
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise KeyFileError(f"{path}: the key is encrypted; relay needs it without") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{path}: this is not a private key in PEM form") from error
    if isinstance(key, RSAPrivateKey):
        if key.key_size < SMALLEST_RSA_BITS:
            raise KeyFileError(
                f"{path}: an RSA key of {key.key_size} bits is too short: 2048 are usual, "
                f"and verifiers refuse less than {SMALLEST_RSA_BITS}"
            )
        return key
    if isinstance(key, Ed25519PrivateKey):
        return key
    raise KeyFileError(f"{path}: DKIM knows RSA and Ed25519 keys, and this is neither")
