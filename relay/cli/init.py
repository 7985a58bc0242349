"""Set up a relay from nothing: `relay init`, and the first start of a development relay.

`initialise` writes a directory: certificates in `tls/`, a DKIM key for every identity's domain in
`dkim/` with the DNS record beside it, `data/`, and last `relay.yaml`, so that a directory without
it is unfinished and the next run finishes it. Keys that are there are kept: they may be published.
`first_start` makes what an existing configuration names and is not there yet.

Both return what they made. A password that was made is in the result and nowhere else in clear.
They fail with `InitError` (mistakes of the caller), `ConfigErrors` or `OSError`; what was written
until then is whole and is used by the next run.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from relay.cli.authority import made_here, make_certificates
from relay.cli.init_options import InitError, InitOptions, Plan, read_options
from relay.cli.init_text import relay_yaml
from relay.config.certificate import certificate_problems
from relay.config.document import Document, parse_document, read_document
from relay.config.load import load_document
from relay.config.model import Tls
from relay.config.names import parse_domain, parse_identity
from relay.config.passwords import hash_password, make_password
from relay.config.private_files import make_private_directory, write_private
from relay.config.problems import ConfigErrors
from relay.config.references import referenced_file
from relay.signing.keys import read_private_key
from relay.signing.make import KeyType, make_private_key, zone_line

__all__ = ["InitError", "InitOptions", "InitResult", "NewCredential", "first_start", "initialise"]

SHORTEST_ADVISED_PASSWORD = 16
_LARGEST_PASSWORD_FILE = 4096


@dataclass(frozen=True, slots=True)
class NewCredential:
    """A credential that was set up; `made` where its password is new and must be shown once."""

    name: str
    password: str = field(repr=False)
    made: bool


@dataclass(frozen=True, slots=True)
class InitResult:
    """What was set up. `dns_records` are lines of a zone file that the owner should publish."""

    config_path: Path
    authority: Path | None
    created: tuple[Path, ...] = ()
    kept: tuple[Path, ...] = ()
    credentials: tuple[NewCredential, ...] = ()
    dns_records: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def initialise(directory: Path, options: InitOptions, *, now: datetime | None = None) -> InitResult:
    """Write a new configuration with everything beside it into `directory`."""
    plan = read_options(options)
    moment = now or datetime.now(UTC)
    directory = directory.absolute()
    config_path = directory / "relay.yaml"
    if config_path.exists() and not options.force:
        raise InitError([f"{config_path} exists; --force replaces it and keeps all keys"])
    credentials, warnings = _credentials(plan, options.password_files)
    selector = f"relay{moment:%Y%m}"
    data_dir = options.data_dir or _data_dir_of(directory)
    hashes = {new.name: hash_password(new.password) for new in credentials}
    text = relay_yaml(plan, selector, hashes, data_dir)
    try:
        load_document(parse_document(text, config_path), os.environ)
    except ConfigErrors as error:  # what no option alone shows, such as two equal ports
        raise InitError([f"{p.key}: {p.found}" for p in error.problems]) from error
    work = _Work()
    for part in ("tls", "dkim"):
        make_private_directory(directory / part)
    make_private_directory(directory / data_dir)
    addresses = [endpoint.host for endpoint, _ in plan.listen.values() if endpoint.address]
    tls = Tls(certificate=directory / "tls/cert.pem", key=directory / "tls/key.pem")
    work.certificates(tls, plan.hostname, addresses, moment)
    for domain in signing_domains(plan.identities):
        work.dkim_key(directory / "dkim" / f"{domain}.{selector}.pem", domain, selector)
    try:
        write_private(config_path, text.encode(), replace=options.force)
    except FileExistsError as error:  # another one was faster
        raise InitError([f"{config_path} exists"]) from error
    work.created.append(config_path)
    return work.result(config_path, tls, credentials, warnings)


def first_start(config_path: Path, *, now: datetime | None = None) -> InitResult:
    """Make the certificate, DKIM keys, secrets and directory that a configuration names.

    Only what is not there is made; the second time nothing is. A missing `${file:…}` of
    `password_hashes` gets the hash of a new password, one of `password` the password itself.
    """
    document = read_document(config_path)
    base = document.file.absolute().parent
    moment = now or datetime.now(UTC)
    work = _Work()

    def path_at(*key: str | int) -> Path | None:
        text = document.text(key)
        return Path(os.path.normpath(base / text)) if text and "${" not in text else None

    if data_dir := path_at("data_dir"):
        make_private_directory(data_dir)
    certificate, key = path_at("tls", "certificate"), path_at("tls", "key")
    tls = Tls(certificate=certificate, key=key) if certificate and key else None
    if tls and not tls.certificate.exists() and not tls.key.exists():
        work.certificates(tls, _hostname(document), (), moment)
    for name in document.names("identities"):
        try:
            domain = parse_identity(name).rpartition("@")[2]
        except ValueError:
            continue  # loading tells it, with its place
        for entry in document.entries("identities", name, "dkim"):
            file, selector = path_at(*entry, "key"), document.text((*entry, "selector"))
            if file and selector and not file.exists():
                work.dkim_key(file, domain, selector)
    credentials = _missing_secrets(document, base, work)
    return work.result(config_path, tls, credentials, ())


def _hostname(document: Document) -> str:
    try:
        return parse_domain(document.text(("hostname",)) or "")
    except ValueError:
        return "localhost"  # loading tells what is wrong, with its place


def _missing_secrets(document: Document, base: Path, work: "_Work") -> list[NewCredential]:
    made = []
    for name in document.names("credentials"):
        kinds: tuple[tuple[Sequence[tuple[str | int, ...]], Callable[[str], str]], ...] = (
            (document.entries("credentials", name, "password_hashes"), hash_password),
            ([("credentials", name, "password")], str),
        )
        for paths, form in kinds:
            for path in paths:
                file = referenced_file(document.at(path), base)
                if file and not file.exists():
                    password = make_password()
                    work.write(file, f"{form(password)}\n".encode())
                    made.append(NewCredential(name, password, made=True))
    return made


class _Work:
    """Files as they are made, in order, and what is told about them."""

    def __init__(self) -> None:
        self.created: list[Path] = []
        self.kept: list[Path] = []
        self.records: list[str] = []
        self.warnings: list[str] = []

    def write(self, path: Path, content: bytes, *, replace: bool = False) -> None:
        make_private_directory(path.parent)
        write_private(path, content, replace=replace)
        self.created.append(path)

    def certificates(
        self, tls: Tls, hostname: str, addresses: Sequence[str], now: datetime
    ) -> None:
        """A new authority, certificate and key, unless good ones, or ones not ours, are there."""
        files = (tls.certificate.with_name("ca.pem"), tls.certificate, tls.key)
        problems = [found for _, found, _ in certificate_problems(tls, hostname, now)]
        foreign = any(file.exists() for file in files[1:]) and not made_here(tls.certificate)
        if foreign or (files[0].exists() and not problems):
            self.kept += [file for file in files if file.exists()]
            self.warnings += [f"{tls.certificate} is kept: {found}" for found in problems]
            return
        made = make_certificates(hostname, addresses, now)
        for file, pem in zip(files, (made.authority, made.certificate, made.key), strict=True):
            self.write(file, pem, replace=True)

    def dkim_key(self, file: Path, domain: str, selector: str) -> None:
        """A key, unless it is there, and the record that publishes it in `….dns.txt`.

        A name with `ed25519` in it gets an Ed25519 key, every other one RSA of 2048 bits.
        """
        if file.exists():
            self.kept.append(file)
        else:
            kind: KeyType = "ed25519" if "ed25519" in file.name else "rsa"
            key = make_private_key(kind)
            self.write(file, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        record = zone_line(domain, selector, read_private_key(file))
        self.records.append(record)
        self.write(file.with_suffix(".dns.txt"), f"{record}\n".encode(), replace=True)

    def result(
        self,
        config_path: Path,
        tls: Tls | None,
        credentials: Sequence[NewCredential],
        warnings: Sequence[str],
    ) -> InitResult:
        authority = tls.certificate.with_name("ca.pem") if tls else None
        return InitResult(
            config_path,
            authority if authority and authority.exists() else None,
            tuple(self.created),
            tuple(self.kept),
            tuple(credentials),
            tuple(self.records),
            (*warnings, *self.warnings),
        )


def signing_domains(identities: Sequence[str]) -> tuple[str, ...]:
    """The domains that need a key: each identity's, once; an address signs with its domain's."""
    return tuple(dict.fromkeys(name.rpartition("@")[2] for name in identities))


def _credentials(plan: Plan, files: Sequence[Path]) -> tuple[list[NewCredential], list[str]]:
    credentials, warnings = [], []
    for index, name in enumerate(plan.credentials):
        if index >= len(files):
            credentials.append(NewCredential(name, make_password(), made=True))
            continue
        password = _read_password(files[index])
        if len(password) < SHORTEST_ADVISED_PASSWORD:
            warnings.append(
                f"the password of {name} has {len(password)} characters: machines can use "
                f"{SHORTEST_ADVISED_PASSWORD} or more"
            )
        credentials.append(NewCredential(name, password, made=False))
    return credentials, warnings


def _read_password(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            octets = stream.read(_LARGEST_PASSWORD_FILE + 1)
        password = octets.decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise InitError([f"--password-file {file}: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise InitError([f"--password-file {file}: is not UTF-8 text"]) from error
    if not password or len(octets) > _LARGEST_PASSWORD_FILE or not password.isprintable():
        raise InitError([f"--password-file {file}: one line with a password is wanted"])
    return password


def _data_dir_of(directory: Path) -> str:
    """Beside the configuration; but nothing that grows belongs below /etc."""
    return "/var/lib/relay" if directory.is_relative_to("/etc") else "data"
