"""Each kind of mistake in a configuration gives its exact message, and all come at once."""

from pathlib import Path
from textwrap import dedent

import pytest

from relay.config.load import ConfigErrors, load, load_config
from relay.config.model import Config

GOOD = """\
hostname: relay.test
data_dir: data
tls: {certificate: tls/cert.pem, key: tls/key.pem}
listeners:
  main: {address: "127.0.0.1:2525"}
credentials:
  app: {password: "a secret that nobody may see"}
identities:
  sender.test: {}
configuration_sets:
  default: {pool: default}
pools:
  default:
    sources:
      - address: 127.0.0.2
"""


@pytest.fixture
def problems(tmp_path: Path):
    """The problems of a text, as they are printed, without the directory."""

    def of(text: str, env: dict[str, str] | None = None) -> list[str]:
        file = tmp_path / "relay.yaml"
        file.write_text(dedent(text))
        try:
            load(file, env or {})
        except ConfigErrors as errors:
            return [str(problem).replace(f"{tmp_path}/", "") for problem in errors.problems]
        return []

    return of


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


def test_a_small_configuration_loads_with_defaults_and_absolute_paths(tmp_path: Path) -> None:
    file = tmp_path / "relay.yaml"
    file.write_text(GOOD)

    config = load_config(file, {})

    assert config.data_dir == tmp_path / "data"
    assert config.tls.certificate == tmp_path / "tls/cert.pem"
    assert config.bounds.message_size == 40_000_000
    assert config.routes["*"].to == "mx"


def test_names_are_in_normal_form(tmp_path: Path) -> None:
    file = tmp_path / "relay.yaml"
    file.write_text(
        changed("relay.test", "Relay.TEST")
        .replace("sender.test: {}", "Bücher.example:\n  News@Sender.Test:")
        .replace("data_dir: data", 'data_dir: ../x/data\nroutes: {"*.Example.COM": {to: MX}}')
    )

    config = load_config(file, {})

    assert config.hostname == "relay.test"
    assert list(config.identities) == ["xn--bcher-kva.example", "news@sender.test"]
    assert list(config.routes) == ["*.example.com"]
    assert config.routes["*.example.com"].to == "mx"
    assert config.data_dir == tmp_path.parent / "x/data"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "address: 127.0.0.2",
            "addres: 127.0.0.2",
            "relay.yaml:15:9: pools.default.sources[0].addres: unknown key; did you mean address? "
            "allowed: address, ehlo, quota, rate, warmup, weight",
        ),
        (
            "address: 127.0.0.2",
            "address: 127.0.0.300",
            "relay.yaml:15:18: pools.default.sources[0].address: '127.0.0.300'; "
            "allowed: an IPv4 or IPv6 address, as 192.0.2.1",
        ),
        (
            "{pool: default}",
            "{pool: defualt}",
            "relay.yaml:11:19: configuration_sets.default.pool: no pool 'defualt'; "
            "did you mean default? allowed: default",
        ),
        (
            '"127.0.0.1:2525"',
            '"127.0.0.1"',
            "relay.yaml:5:19: listeners.main.address: '127.0.0.1'; "
            "allowed: address:port, as 0.0.0.0:587, 127.0.0.1:2587 or [::]:587",
        ),
        (
            '"127.0.0.1:2525"',
            '"127.0.0.1:2525", tls: startls',
            "relay.yaml:5:42: listeners.main.tls: 'startls'; did you mean starttls? "
            "allowed: starttls, implicit",
        ),
        (
            '"127.0.0.1:2525"',
            '"127.0.0.1:2525", networks: [10.0.0.1/8]',
            "relay.yaml:5:48: listeners.main.networks[0]: '10.0.0.1/8'; "
            "did you mean 10.0.0.0/8? allowed: a network such as 10.0.0.0/8 or one address",
        ),
        (
            "hostname: relay.test",
            "hostname: re_lay",
            "relay.yaml:1:11: hostname: 're_lay'; allowed: a domain name such as example.com",
        ),
        (
            "sender.test: {}",
            "sender test: {}",
            'relay.yaml:9:3: identities."sender test": is no name for an entry here; '
            "allowed: a domain (example.com) or an address (news@example.com)",
        ),
        (
            "sender.test: {}",
            "sender.test:\n  Sender.TEST:",
            "relay.yaml:10:3: identities.\"Sender.TEST\": is the same as 'sender.test'",
        ),
        (
            "sender.test: {}",
            "sender.test: {configuration_set: defaut}",
            'relay.yaml:9:36: identities."sender.test".configuration_set: '
            "no configuration set 'defaut'; did you mean default? allowed: default",
        ),
        (
            "sender.test: {}",
            "sender.test: {dkim: [{selector: a, key: k}, {selector: A, key: l}]}",
            'relay.yaml:9:58: identities."sender.test".dkim[1].selector: '
            "'A' is used twice; allowed: a selector of its own",
        ),
        (
            '{password: "a secret that nobody may see"}',
            "{identities: [sendr.test]}",
            "relay.yaml:7:22: credentials.app.identities[0]: no identity 'sendr.test'; "
            "did you mean sender.test? allowed: sender.test",
        ),
        (
            '{password: "a secret that nobody may see"}',
            "{enabled: no}",
            "relay.yaml:7:18: credentials.app.enabled: 'no'; allowed: true or false",
        ),
        (
            '{password: "a secret that nobody may see"}',
            "{rate: 50}",
            "relay.yaml:7:15: credentials.app.rate: '50'; "
            "allowed: a rate such as 50/s, 3,000/min, 1,000/h or 100000/day",
        ),
        (
            '{password: "a secret that nobody may see"}',
            "{quota: 5/s}",
            "relay.yaml:7:16: credentials.app.quota: '5/s'; "
            "allowed: a number of recipients in 24 hours, such as 100000/day",
        ),
        (
            '{password: "a secret that nobody may see"}',
            "{configuration_set: default, configuration_sets: [other]}",
            "relay.yaml:7:28: credentials.app.configuration_set: 'default' is not among its "
            "configuration_sets; allowed: other\n"
            "relay.yaml:7:58: credentials.app.configuration_sets[0]: no configuration set 'other'; "
            "allowed: default",
        ),
        (
            "data_dir: data",
            "data_dir: data\nbounds: {message_size: 40 parsecs}",
            "relay.yaml:3:24: bounds.message_size: '40 parsecs'; "
            "allowed: a size such as 512KB, 40MB, 64KiB or a number of bytes",
        ),
        (
            "data_dir: data",
            "data_dir: data\nbounds: {command_timeout: 300}",
            "relay.yaml:3:27: bounds.command_timeout: '300'; "
            "allowed: a time with its unit, such as 500ms, 30s, 5m, 1h30m or 4d",
        ),
        (
            "data_dir: data",
            "data_dir: data\nbounds: {command_timeout: 0s}",
            "relay.yaml:3:27: bounds.command_timeout: '0s'; allowed: more than 0",
        ),
        (
            "data_dir: data",
            "data_dir: data\nbounds: {recipients: 0}",
            "relay.yaml:3:22: bounds.recipients: '0'; allowed: 1 or more",
        ),
        (
            "data_dir: data",
            "data_dir: data\nbounds: {message_size: 1KB, header_size: 1KB}",
            "relay.yaml:3:24: bounds.message_size: '1KB' is less than store.inline_size",
        ),
        (
            "data_dir: data",
            "data_dir: data\nstore: {inline_size: 50MB}",
            "relay.yaml:3:22: store.inline_size: '50MB' is more than bounds.message_size; "
            "allowed: at most 40,000,000 bytes",
        ),
        (
            "data_dir: data",
            "data_dir: data\nbounds: {data_timeout: 2h}",
            "relay.yaml:3:24: bounds.data_timeout: '2h' is more than bounds.message_timeout; "
            "allowed: at most 3,600 seconds",
        ),
        (
            "data_dir: data",
            "data_dir: data\nretry: {schedule: []}",
            "relay.yaml:3:19: retry.schedule: nothing in it; allowed: at least one entry",
        ),
        (
            "data_dir: data",
            "data_dir: data\nretry: {schedule: 5m}",
            "relay.yaml:3:19: retry.schedule: text; allowed: a list, as [a, b]",
        ),
        (
            "data_dir: data",
            'data_dir: data\nmetrics: {address: "0.0.0.0:2525"}',
            "relay.yaml:3:20: metrics.address: 0.0.0.0:2525 collides with 127.0.0.1:2525 of "
            "listeners.main.address; allowed: another address or port",
        ),
        (
            '"127.0.0.1:2525"',
            '"127.0.0.1:2580"',
            "relay.yaml:1:1: metrics.address: 127.0.0.1:2580 collides with 127.0.0.1:2580 of "
            "listeners.main.address; allowed: another address or port",
        ),
        (
            "data_dir: data",
            'data_dir: data\nsimulator: {address: "10.0.0.1:25"}',
            "relay.yaml:3:22: simulator.address: '10.0.0.1:25'; "
            "allowed: a loopback address: it takes mail from anyone",
        ),
        (
            "data_dir: data",
            "data_dir: data\nsimulator:",
            "relay.yaml:3:11: simulator: nothing; allowed: {} to run it, or leave the key out",
        ),
        (
            "data_dir: data",
            "data_dir: data\nroutes: {example.com: {to: smart.example.com}}",
            "relay.yaml:3:28: routes.\"example.com\".to: 'smart.example.com'; "
            "allowed: mx, or a smarthost as host:port (10.0.0.5:2525, [::1]:25)",
        ),
        (
            "data_dir: data",
            "data_dir: data\nroutes: {Simulator.relay.test: {to: mx}}",
            'relay.yaml:3:32: routes."Simulator.relay.test": '
            "a route for the domain of the mailbox simulator; "
            "allowed: another domain, or simulator_addresses: false",
        ),
        (
            "data_dir: data",
            'data_dir: data\nroutes: {"*": {to: mx, tls: implicit}}',
            "relay.yaml:3:29: routes.\"*\".tls: 'implicit' for mx; "
            "allowed: opportunistic, require, none, verify",
        ),
        (
            "      - address: 127.0.0.2",
            "      - {address: 127.0.0.2, weight: 0}\n      - {address: 127.0.0.3, weight: 0}",
            "relay.yaml:15:7: pools.default.sources: every weight is 0, so nothing can be sent; "
            "allowed: at least one weight of 1 or more",
        ),
        (
            "      - address: 127.0.0.2",
            '      - address: 127.0.0.2\n      - address: "::ffff:127.0.0.2"',
            "relay.yaml:16:18: pools.default.sources[1].address: "
            "'::ffff:127.0.0.2' is twice in this pool; allowed: each address once",
        ),
        (
            "data_dir: data",
            "data_dir: data\ndefault_configuration_set: prod",
            "relay.yaml:3:28: default_configuration_set: no configuration set 'prod'; "
            "allowed: default",
        ),
        (
            "  main: {",
            "  ma in: {",
            'relay.yaml:5:3: listeners."ma in": is no name for an entry here; '
            "allowed: letters, digits, - and _, at most 64 of them",
        ),
        (
            "data_dir: data",
            'data_dir: ""',
            "relay.yaml:2:11: data_dir: ''; allowed: a path",
        ),
        (
            "data_dir: data",
            'data_dir: data\n"a\\e[2J\\nb": 1',
            'relay.yaml:3:1: "a\\u001b[2J\\nb": unknown key; allowed: '
            + ", ".join(sorted(Config.model_fields)),
        ),
        (
            "tls: {certificate: tls/cert.pem, key: tls/key.pem}",
            "tls: {certificate: tls/cert.pem}",
            "relay.yaml:3:1: tls.key: missing; it is required",
        ),
    ],
)
def test_a_mistake_gives_its_exact_message(problems, old: str, new: str, message: str) -> None:
    assert problems(changed(old, new)) == message.split("\n")


def test_all_mistakes_come_at_once_in_the_order_of_the_file(problems) -> None:
    text = changed("hostname: relay.test", "hostname: re_lay")
    text = text.replace("{pool: default}", "{pool: other, rat: 5/s}").replace("127.0.0.2", "x")

    places = [message.split(": ")[1] for message in problems(text)]

    assert places == [
        "hostname",
        "configuration_sets.default.pool",
        "configuration_sets.default.rat",
        "pools.default.sources[0].address",
    ]


def test_an_equal_key_or_an_alias_hides_no_other_mistake(problems) -> None:
    text = changed("  app: {", "  app: {enabled: true}\n  app: {").replace(
        "pool: default", "pool: defalt"
    )

    assert problems(text.replace("relay.test", "&x relay.test")) == [
        "relay.yaml:1:11: hostname: a YAML anchor or alias; "
        "allowed: plain values; quote text with & or *",
        "relay.yaml:8:3: credentials.app: is given twice, first in line 7; allowed: each key once",
        "relay.yaml:12:19: configuration_sets.default.pool: no pool 'defalt'; "
        "did you mean default? allowed: default",
    ]


def test_a_second_document_is_refused_and_changes_no_place_in_the_first(problems) -> None:
    assert problems(GOOD.replace("{pool: default}", "{pool: x}") + "---\nhostname: y\n") == [
        "relay.yaml:11:19: configuration_sets.default.pool: no pool 'x'; allowed: default",
        "relay.yaml:16:1: a second document; allowed: one document in a file",
    ]


def test_an_empty_section_has_its_defaults(problems) -> None:
    assert problems(changed("sender.test: {}", "sender.test:") + "account:\nbounds:\n") == []


def test_an_empty_list_of_restrictions_is_told_from_one_that_is_absent(problems) -> None:
    text = changed('{password: "a secret that nobody may see"}', "{identities: }")

    assert problems(text) == [
        "relay.yaml:7:21: credentials.app.identities: nothing; allowed: a list, as [a, b]"
    ]


@pytest.mark.parametrize(
    "credential",
    [
        "hunter2",
        "{password: [hunter2]}",
        "{password: {a: hunter2}}",
        "{password_hashes: hunter2}",
        "{password_hashes: [hunter2]}",
        "{password: scrypt$hunter2}",
        "{password: *hunter2}",
        "{password: &hunter2 x}",
        "{password: !hunter2 x}",
        "{pasword: hunter2}",
        "{password: hunter2, password: hunter2}",
        "{password: '${file:x}hunter2'}",
        "{password: {password: hunter2}}",
    ],
)
def test_no_message_shows_a_secret(problems, credential: str) -> None:
    text = changed('{password: "a secret that nobody may see"}', credential)

    told = problems(text, {})

    assert told
    assert "hunter2" not in "\n".join(told)


def test_a_secret_that_a_reference_gave_is_not_shown_either(problems) -> None:
    text = changed("hostname: relay.test", "hostname: ${env:SECRET}")

    assert problems(text, {"SECRET": "hun ter2"}) == [
        "relay.yaml:1:11: hostname: '${env:SECRET}'; allowed: a domain name such as example.com"
    ]


def test_the_configuration_does_not_show_secrets_in_its_repr(tmp_path: Path) -> None:
    file = tmp_path / "relay.yaml"
    file.write_text(GOOD)

    assert "nobody may see" not in repr(load(file, {}))
    assert "nobody may see" not in repr(load_config(file, {}))


def test_a_file_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match=r"relay.yaml: cannot be read: No such file"):
        load_config(tmp_path / "relay.yaml", {})


def test_a_home_directory_that_nobody_has_is_no_accident(tmp_path: Path) -> None:
    file = tmp_path / "relay.yaml"
    file.write_text(changed("data_dir: data", "data_dir: ~nobody-of-this-name/data"))

    assert load_config(file, {}).data_dir == tmp_path / "~nobody-of-this-name/data"


def test_many_mistakes_against_many_names_are_told_in_a_short_time(problems) -> None:
    many = "".join(f"  d{n}.test:\n" for n in range(3000))
    text = changed("  sender.test: {}\n", many)
    text = text.replace(
        '{password: "a secret that nobody may see"}',
        "{identities: [" + ", ".join(f"e{n}.test" for n in range(1000)) + "]}",
    )

    told = problems(text)

    assert len(told) == 1000
    assert told[0].endswith("d1014.test and 2980 more")
