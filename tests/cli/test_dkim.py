import socket
import threading
from contextlib import contextmanager

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
import yaml

from relay.config.load import load_config
from relay.signing.keys import read_private_key
from relay.signing.make import make_private_key, record_text, write_private_key


@contextmanager
def name_server(records, *, rcode=dns.rcode.NOERROR):
    """A name server on loopback that knows TXT records by name; gives `address:port`."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))

    def serve():
        while True:
            octets, peer = sock.recvfrom(4096)
            if octets == b"stop":
                return
            query = dns.message.from_wire(octets)
            answer = dns.message.make_response(query)
            answer.flags |= dns.flags.RA
            name = query.question[0].name
            found = records.get(str(name).rstrip(".").lower(), [])
            answer.set_rcode(rcode if found or rcode else dns.rcode.NXDOMAIN)
            if found:
                answer.answer.append(dns.rrset.from_text(name, 60, "IN", "TXT", *found))
            sock.sendto(answer.to_wire(), peer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"127.0.0.1:{sock.getsockname()[1]}"
    finally:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"stop", sock.getsockname())
        thread.join(10)
        sock.close()


def quoted(text):
    """A TXT record in strings of at most 255 octets, as zone files have it."""
    return " ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255))


@pytest.fixture(scope="module")
def rsa_key():
    return make_private_key("rsa")


@pytest.fixture
def signing(config_path, rsa_key):
    """The configuration with one RSA and one Ed25519 key for sender.test; gives their records."""
    records = {}
    lines = []
    for selector, key in (("one", rsa_key), ("two", make_private_key("ed25519"))):
        write_private_key(config_path.parent / f"{selector}.pem", key)
        records[f"{selector}._domainkey.sender.test"] = [quoted(record_text(key))]
        lines.append(f"{{selector: {selector}, key: {selector}.pem}}")
    text = config_path.read_text()
    config_path.write_text(
        text.replace("sender.test: {}", f"sender.test: {{dkim: [{', '.join(lines)}]}}")
    )
    return records


def test_a_new_key_is_private_and_comes_with_its_record_and_its_yaml(run, config_path):
    ran = run("dkim", "new", "Sender.test", "--selector", "s1")
    path = config_path.parent / "dkim" / "sender.test.s1.pem"
    assert ran.code == 0
    assert path.stat().st_mode & 0o777 == 0o600
    assert "s1._domainkey.sender.test. IN TXT (" in ran.out
    assert record_text(read_private_key(path))[:100] in ran.out


def test_the_yaml_of_a_new_key_can_be_pasted(run, config_path):
    found = run("dkim", "new", "other.test", "--type", "ed25519", "--json").json
    identities = yaml.safe_load(found["yaml"])["identities"]
    text = config_path.read_text().replace("identities:\n", found["yaml"])
    config_path.write_text(text)
    config = load_config(config_path)
    (key,) = config.identities["other.test"].dkim
    assert key.selector == identities["other.test"]["dkim"][0]["selector"]
    assert key.key == config_path.parent / "dkim" / f"other.test.{key.selector}.pem"
    assert found["value"].startswith("v=DKIM1; k=ed25519; p=")


def test_a_key_that_is_there_is_never_replaced(run, config_path):
    run("dkim", "new", "sender.test", "--selector", "s1", "--type", "ed25519")
    path = config_path.parent / "dkim" / "sender.test.s1.pem"
    before = path.read_bytes()
    ran = run("dkim", "new", "sender.test", "--selector", "s1", "--type", "ed25519")
    assert ran.code == 1
    assert "keys are never replaced" in ran.err
    assert path.read_bytes() == before


def test_no_configuration_is_needed_for_a_key_somewhere_else(run, tmp_path, monkeypatch):
    monkeypatch.delenv("RELAY_CONFIG", raising=False)
    out = tmp_path / "key.pem"
    assert run("dkim", "new", "sender.test", "--type", "ed25519", "--out", out).code == 0
    assert out.exists()


def test_show_prints_the_records_of_all_keys(run, signing):
    out = run("dkim", "show", "sender.test").out
    assert out.count("IN TXT") == 2
    names = {record["name"] for record in run("dkim", "show", "sender.test", "--json").json}
    assert names == set(signing)


def test_a_subdomain_shows_the_keys_of_the_parent_that_signs_for_it(run, signing):
    (first, _) = run("dkim", "show", "news.sender.test", "--json").json
    assert first["name"] == "one._domainkey.sender.test"


def test_dns_that_agrees_is_good(run, signing):
    with name_server(signing) as server:
        ran = run("dkim", "check", "sender.test", "--nameserver", server)
    assert ran.code == 0
    assert ran.out.count("good") == 2


def test_a_record_that_is_missing_or_another_key_exits_1_with_the_reason(run, signing):
    signing.pop("one._domainkey.sender.test")
    other = make_private_key("ed25519")
    signing["two._domainkey.sender.test"] = [quoted(record_text(other))]
    with name_server(signing) as server:
        ran = run("dkim", "check", "sender.test", "--nameserver", server, "--json")
    assert ran.code == 1
    one, two = ran.json
    assert "DNS has no TXT record one._domainkey.sender.test" in one["problems"][0]
    assert "another public key" in two["problems"][0]
    assert two["ok"] is False


@pytest.mark.parametrize(
    ("records", "why"),
    [
        (['"v=DKIM1; k=rsa; p="'], "revoked"),
        (['"hello"'], "not a list of tag=value"),
        (['"v=DKIM1; p=AAAA"', '"v=DKIM1; p=BBBB"'], "2 TXT records"),
    ],
)
def test_a_record_that_verifiers_would_not_take_is_told(run, signing, records, why):
    signing["one._domainkey.sender.test"] = records
    with name_server(signing) as server:
        ran = run("dkim", "check", "sender.test", "--nameserver", server, "--json")
    assert ran.code == 1
    assert why in ran.json[0]["problems"][0]


def test_a_name_server_that_fails_is_no_missing_record(run, signing):
    with name_server({}, rcode=dns.rcode.SERVFAIL) as server:
        ran = run("dkim", "check", "sender.test", "--nameserver", server, "--json")
    assert ran.code == 1
    assert "DNS gave no answer" in ran.json[0]["problems"][0]


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (("check", "unknown.test"), 1, "`relay dkim new unknown.test` makes one"),
        (("check", "not a domain"), 2, "is not a domain"),
        (("check", "sender.test", "--nameserver", "nowhere"), 2, "is not ADDRESS"),
    ],
)
def test_what_cannot_be_checked_is_told(run, signing, arguments, code, why):
    ran = run("dkim", *arguments)
    assert ran.code == code
    assert why in ran.err


def test_a_key_file_that_is_gone_is_told(run, signing, config_path):
    (config_path.parent / "one.pem").unlink()
    ran = run("dkim", "check", "sender.test")
    assert ran.code == 1
    assert "one.pem: the key cannot be read" in ran.err
