"""Where mail is kept: in files of this machine, or in a PostgreSQL that several relays share."""

from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from relay.config.paths import FilePath
from relay.config.section import Section
from relay.config.units import parse_duration, parse_size

_SCHEMES = ("postgresql", "postgres")
_PARAMETERS = frozenset(
    {"sslmode", "sslrootcert", "sslcert", "sslkey", "host", "port", "target_session_attrs"}
)
_EXAMPLE = "postgresql://relay@db.example.net/relay"


def _url(text: str) -> str:
    """Errors never repeat the text: it may hold a password."""
    try:
        parts = urlsplit(text)
        _ = parts.port if "," not in parts.netloc else None
    except ValueError as error:
        raise ValueError(f"allowed is a URL such as {_EXAMPLE}") from error
    if parts.scheme not in _SCHEMES or not parts.path.strip("/") or parts.fragment:
        raise ValueError(f"allowed is the URL of a database, such as {_EXAMPLE}")
    if parse_qs(parts.query, keep_blank_values=True).keys() - _PARAMETERS:
        raise ValueError(
            "allowed is a URL with no parameters but " + ", ".join(sorted(_PARAMETERS))
        )
    return text


_LOCAL = frozenset({"", "localhost", "127.0.0.1", "::1"})


def _host(server: str) -> str:
    """Of `host:port` or `[address]:port`, as a URL has it."""
    if server.startswith("["):
        return server[1:].partition("]")[0]
    return server.partition(":")[0]


class StoreConfig(Section):
    """`store: postgresql://…` is short for `store: {url: postgresql://…}`."""

    url: Annotated[str, AfterValidator(_url)] | None = Field(
        None, repr=False, description="of a PostgreSQL database; absent: files in data_dir"
    )
    password_file: FilePath | None = Field(
        None, description="holds the password of the database's user, where the URL has none"
    )
    inline_size: Annotated[int, BeforeValidator(parse_size)] = Field(
        64 * 1024, description="larger bodies are kept in files, or in a database in chunks"
    )
    lease: Annotated[float, BeforeValidator(parse_duration)] = Field(
        30.0, ge=5, description="after which a silent owner's mail is taken over; 10s with a url"
    )

    @property
    def is_shared(self) -> bool:
        """Whether several relays may use it."""
        return self.url is not None

    @property
    def holds_password(self) -> bool:
        """Whether the URL has the password in it."""
        return self.url is not None and ":" in urlsplit(self.url).netloc.rpartition("@")[0]

    @property
    def is_local(self) -> bool:
        """Whether all servers that the URL names are on this machine."""
        if self.url is None:
            return True
        parts = urlsplit(self.url)
        named = parts.netloc.rpartition("@")[2] or ",".join(parse_qs(parts.query).get("host", []))
        return all(_host(server) in _LOCAL or server.startswith("/") for server in named.split(","))

    @property
    def demands_encryption(self) -> bool:
        """Whether the way to the server is encrypted or there is none."""
        if self.url is None:
            return False
        [mode] = parse_qs(urlsplit(self.url).query).get("sslmode", ["prefer"])[-1:]
        return mode in ("require", "verify-ca", "verify-full")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        if isinstance(value, str):
            value = {"url": value}
        if isinstance(value, dict) and value.get("url") is not None and "lease" not in value:
            # Owners of a fleet die with their machines: nobody on the spot frees their mail.
            shared: dict[str, Any] = {"lease": "10s"}
            return value | shared
        return value

    @model_validator(mode="after")
    def _password_has_a_use(self) -> "StoreConfig":
        if self.password_file is not None and self.url is None:
            raise ValueError("password_file is of use only with a url")
        return self
