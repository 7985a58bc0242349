"""Postfix as a smarthost with STARTTLS and AUTH, with or without OpenDKIM on a Unix socket.

Default durability (the queue file is synced before 250) and default delivery concurrency; client
limits lifted, as the load comes from one address. Needs root, and Debian's packages postfix,
opendkim, opendkim-tools, sasl2-bin and libsasl2-modules. Nothing of the machine's own Postfix is
read or changed.
"""

import shutil
import subprocess
import time
from pathlib import Path

from bench.systems.system import PASSWORD, USER, Ports
from bench.systems.tls import write_certificate

_PROGRAMS = ("postfix", "saslpasswd2", "smtp-sink")
_SIGNING_PROGRAMS = ("opendkim", "opendkim-genkey")

_MAIN = """\
compatibility_level = 3.6
queue_directory = {dir}/queue
data_directory = {dir}/data
maillog_file = {dir}/log/mail.log
maillog_file_prefixes = {dir}
myhostname = postfix.test
mydestination =
local_recipient_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
relayhost = [127.0.0.1]:{sink}
disable_dns_lookups = yes
smtp_host_lookup = native
smtp_bind_address = 127.0.0.2
smtp_tls_security_level = none
smtpd_tls_security_level = encrypt
smtpd_tls_chain_files = {dir}/tls/chain.pem
smtpd_tls_auth_only = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = cyrus
smtpd_sasl_path = smtpd
smtpd_sasl_local_domain = postfix.test
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions = permit_sasl_authenticated, reject
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_message_rate_limit = 0
default_process_limit = 250
smtpd_peername_lookup = no
message_size_limit = 60000000
{milter}
"""

_MILTER = """\
smtpd_milters = unix:{dir}/dkim/socket
non_smtpd_milters =
milter_default_action = tempfail
milter_protocol = 6
"""

_OPENDKIM = """\
Mode s
Canonicalization relaxed/simple
Domain sender.test
Selector bench
KeyFile {dir}/dkim/bench.private
Socket local:{dir}/dkim/socket
Syslog no
InternalHosts 0.0.0.0/0
ExternalIgnoreList 0.0.0.0/0
UserID root:root
UMask 000
RequireSafeKeys no
Background no
"""


class Postfix:
    """One private Postfix instance, and one OpenDKIM when it signs."""

    def __init__(self, signing: bool) -> None:
        self._signing = signing
        self.user = f"{USER}@postfix.test"
        self.name = "Postfix with OpenDKIM" if signing else "Postfix, not signing"
        self._dkim: subprocess.Popen[bytes] | None = None

    @staticmethod
    def missing(signing: bool) -> list[str]:
        """Programs that are not installed."""
        needed = (*_PROGRAMS, *_SIGNING_PROGRAMS) if signing else _PROGRAMS
        return [name for name in needed if shutil.which(name) is None]

    def start(self, directory: Path, ports: Ports) -> None:
        self._dir = directory
        for name in ("etc", "queue", "data", "etc/sasl", "dkim", "log"):
            (directory / name).mkdir(parents=True)
        directory.chmod(0o755)
        write_certificate(directory / "tls")
        self._write_password()
        milter = _MILTER.format(dir=directory) if self._signing else ""
        main = _MAIN.format(dir=directory, sink=ports.sink, milter=milter)
        (directory / "etc/main.cf").write_text(main)
        (directory / "etc/master.cf").write_text(self._master(ports.submission))
        shutil.chown(directory / "data", "postfix")
        if self._signing:
            self._start_opendkim()
        subprocess.run(
            ["postfix", "-c", str(directory / "etc"), "start"], check=True, capture_output=True
        )
        self._pid = int((directory / "queue/pid/master.pid").read_text())

    def roots(self) -> tuple[int, ...]:
        return (self._pid, *([self._dkim.pid] if self._dkim else []))

    def authority(self) -> Path:
        return self._dir / "tls/ca.pem"

    def dkim_record(self) -> tuple[str, str] | None:
        if not self._signing:
            return None
        parts = (self._dir / "dkim/bench.txt").read_text().split('"')[1::2]
        return "bench._domainkey.sender.test", "".join(parts)

    def version(self) -> str:
        postfix = _output("postconf", "-d", "-h", "mail_version").strip()
        if not self._signing:
            return f"Postfix {postfix}"
        return f"Postfix {postfix}, {_output('opendkim', '-V').splitlines()[0].strip()}"

    def stop(self) -> None:
        subprocess.run(
            ["postfix", "-c", str(self._dir / "etc"), "stop"], check=False, capture_output=True
        )
        if self._dkim is not None:
            self._dkim.terminate()
            self._dkim.wait()

    def _write_password(self) -> None:
        database = self._dir / "etc/sasl/sasldb2"
        (self._dir / "etc/sasl/smtpd.conf").write_text(
            f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nmech_list: PLAIN LOGIN\n"
            f"sasldb_path: {database}\n"
        )
        subprocess.run(
            ["saslpasswd2", "-p", "-c", "-f", str(database), "-u", "postfix.test", USER],
            input=PASSWORD.encode(),
            check=True,
        )
        shutil.chown(database, "postfix")

    def _master(self, port: int) -> str:
        standard = Path("/usr/share/postfix/master.cf.dist").read_text().splitlines()
        services = [line for line in standard if line and not line.startswith(("#", " ", "\t"))]
        kept = [line for line in services if line.split()[:2] != ["smtp", "inet"]]
        unprivileged = [" ".join(self._without_chroot(line.split())) for line in kept]
        return "\n".join([f"127.0.0.1:{port} inet n - n - - smtpd", *unprivileged, ""])

    @staticmethod
    def _without_chroot(fields: list[str]) -> list[str]:
        return [*fields[:4], "n", *fields[5:]]

    def _start_opendkim(self) -> None:
        keys = self._dir / "dkim"
        subprocess.run(
            ["opendkim-genkey", "-b", "2048", "-d", "sender.test", "-s", "bench", "-D", str(keys)],
            check=True,
        )
        (keys / "opendkim.conf").write_text(_OPENDKIM.format(dir=self._dir))
        self._dkim = subprocess.Popen(["opendkim", "-f", "-x", str(keys / "opendkim.conf")])
        deadline = time.monotonic() + 10
        while not (keys / "socket").exists():
            if time.monotonic() > deadline or self._dkim.poll() is not None:
                raise RuntimeError("opendkim did not start")
            time.sleep(0.05)


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
