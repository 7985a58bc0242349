"""What the files in `deploy/` and the Dockerfile promise, and that it is what the program does."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from relay.config.load import load_config
from relay.config.model import Config, Shutdown
from relay.config.units import parse_duration
from relay.observe.metrics import Metrics
from relay.runtime.main import ENDS_WITHIN_S

ROOT = Path(__file__).parents[1]
FLEET = ROOT / "deploy/fleet"
KUBERNETES = ROOT / "deploy/kubernetes"


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / "deploy" / path).read_text())


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def test_the_service_does_not_run_as_root_and_keeps_its_files_to_itself() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]  # keys keep their case
    unit.read(ROOT / "deploy/relay.service")
    service = unit["Service"]
    assert service["User"] not in ("", "root")
    assert service["NoNewPrivileges"] == "yes"
    assert service["UMask"] == "0077"
    assert service["StateDirectoryMode"] == "0700"


def test_the_service_is_given_the_time_that_its_end_takes() -> None:
    unit = (ROOT / "deploy/relay.service").read_text()
    [given] = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert int(given) > Shutdown().grace + ENDS_WITHIN_S


def test_the_container_does_not_run_as_root() -> None:
    users = re.findall(r"^USER (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert users
    assert users[-1] not in ("root", "0")


def test_the_container_can_speak_to_the_database_of_a_fleet() -> None:
    assert "'.[postgres]'" in (ROOT / "Dockerfile").read_text()


@pytest.fixture(params=["fleet", "kubernetes"])
def shipped(request: pytest.FixtureRequest) -> Config:
    """The configuration of the nodes of a fleet, without a change."""
    return load_config(ROOT / "deploy" / request.param / "relay.yaml", {})


def test_shipped_configurations_are_good_and_share_a_database(shipped: Config) -> None:
    assert shipped.store.is_shared
    assert shipped.store.password_file is not None
    assert not shipped.store.holds_password


def test_the_two_relays_of_the_compose_file_have_the_sources_and_the_balancer_that_it_names() -> (
    None
):
    services = read("compose.fleet.yaml")["services"]
    config = load_config(FLEET / "relay.yaml", {})
    relays = {name: service for name, service in services.items() if name.startswith("relay-")}
    assert {service["hostname"] for service in relays.values()} == set(relays)
    addresses = {service["networks"]["mail"]["ipv4_address"] for service in relays.values()}
    assert {str(source.address) for source in config.pools["main"].sources} == addresses
    balancer = services["balancer"]["networks"]["mail"]["ipv4_address"]
    for listener in config.listeners.values():
        assert [str(network) for network in listener.proxy_protocol] == [f"{balancer}/32"]


def test_a_relay_that_is_stopped_has_the_time_that_it_takes() -> None:
    config = load_config(FLEET / "relay.yaml", {})
    for name, service in read("compose.fleet.yaml")["services"].items():
        if name.startswith("relay-"):
            given = parse_duration(service["stop_grace_period"])
            assert given > config.shutdown.grace + ENDS_WITHIN_S
            assert "/readyz" in service["healthcheck"]["test"][-1]


def test_every_file_that_the_compose_file_mounts_is_shipped_or_made_as_it_says() -> None:
    text = (ROOT / "deploy/compose.fleet.yaml").read_text()
    made = {"./fleet/secrets", "./fleet/tls", "./fleet/dkim", "./fleet/secrets/database"}
    for path in set(re.findall(r"(\./[a-z./_]+?)(?::|\s|\")", text)):
        assert path in made or (ROOT / "deploy" / path).is_file(), path


def test_prometheus_asks_every_relay_where_it_answers() -> None:
    config = load_config(FLEET / "relay.yaml", {})
    jobs = read("fleet/prometheus/prometheus.yml")["scrape_configs"]
    [targets] = [job["static_configs"][0]["targets"] for job in jobs if job["job_name"] == "relay"]
    port = port_of(config.metrics.address)
    assert targets == [f"relay-1:{port}", f"relay-2:{port}"]


def test_an_alert_is_about_metrics_that_there_are_and_listed_where_they_are_explained() -> None:
    [group] = read("prometheus/relay.rules.yml")["groups"]
    page = (ROOT / "docs/metrics.md").read_text()
    registered = {described.name for described in Metrics().described}
    for rule in group["rules"]:
        named = set(re.findall(r"relay_\w+", rule["expr"]))
        assert named <= registered, rule["alert"]
        if "rate(" not in rule["expr"] and named:
            assert f"`{rule['expr']}`" in page, rule["alert"]


def test_the_balancer_asks_for_readiness_and_says_who_the_client_is() -> None:
    config = load_config(FLEET / "relay.yaml", {})
    text = (FLEET / "haproxy.cfg").read_text()
    assert "option httpchk GET /readyz" in text
    [defaults] = re.findall(r"^  default-server (.*)$", text, re.MULTILINE)
    assert "send-proxy-v2" in defaults
    assert f"check port {port_of(config.metrics.address)} " in defaults
    for name, listener in config.listeners.items():
        [section] = re.findall(rf"^backend {name}\n((?:  .*\n)+)", text, re.MULTILINE)
        port = port_of(listener.address)
        assert re.findall(r"server \S+ (\S+)", section) == [f"relay-1:{port}", f"relay-2:{port}"]


def test_it_is_the_relay_that_ends_a_silent_session() -> None:
    bounds = load_config(FLEET / "relay.yaml", {}).bounds
    text = (FLEET / "haproxy.cfg").read_text()
    for side in ("client", "server"):
        [patience] = re.findall(rf"timeout {side} (\S+)", text)
        assert parse_duration(patience) > max(bounds.command_timeout, bounds.data_timeout)


@pytest.mark.skipif(shutil.which("haproxy", path="/usr/sbin:/usr/bin") is None, reason="no haproxy")
def test_haproxy_understands_its_configuration(tmp_path: Path) -> None:
    # The names of the relays are known only beside them.
    text = re.sub(r"relay-([12]):", r"127.0.0.\1:", (FLEET / "haproxy.cfg").read_text())
    (tmp_path / "haproxy.cfg").write_text(text)
    checked = subprocess.run(
        ["/usr/sbin/haproxy", "-c", "-q", "-f", tmp_path / "haproxy.cfg"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stderr
    assert "WARNING" not in checked.stderr


def manifests() -> list[dict[str, Any]]:
    kustomization = read("kubernetes/kustomization.yaml")
    return [
        document
        for name in kustomization["resources"]
        for document in yaml.safe_load_all((KUBERNETES / name).read_text())
    ]


def pod() -> dict[str, Any]:
    [stateful] = [document for document in manifests() if document["kind"] == "StatefulSet"]
    spec: dict[str, Any] = stateful["spec"]["template"]["spec"]
    return spec


def test_every_manifest_is_listed_and_chooses_the_pods_of_the_relay() -> None:
    optional = {"kustomization.yaml", "servicemonitor.yaml", "relay.yaml"}
    listed = set(read("kubernetes/kustomization.yaml")["resources"])
    assert {path.name for path in KUBERNETES.glob("*.yaml")} == listed | optional
    labels = {"app.kubernetes.io/name": "relay"}
    for document in manifests():
        match document["kind"]:
            case "Service":
                assert document["spec"]["selector"] == labels
            case "NetworkPolicy":
                assert document["spec"]["podSelector"]["matchLabels"] == labels
            case "PodDisruptionBudget":
                assert document["spec"]["selector"]["matchLabels"] == labels
                assert document["spec"]["maxUnavailable"] == 1
            case "StatefulSet":
                assert document["spec"]["template"]["metadata"]["labels"] == labels


def test_probes_ports_and_services_are_those_of_the_configuration() -> None:
    config = load_config(KUBERNETES / "relay.yaml", {})
    [container] = pod()["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {
        "metrics": port_of(config.metrics.address),
        **{name: port_of(listener.address) for name, listener in config.listeners.items()},
    }
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics"}
    for probe in ("startupProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/healthz", "port": "metrics"}
    open_ports = {
        port["port"]
        for document in manifests()
        if document["kind"] == "NetworkPolicy"
        for rule in document["spec"]["ingress"]
        for port in rule["ports"]
    }
    assert open_ports == set(ports.values())
    [balanced] = [d for d in manifests() if d["spec"].get("type") == "LoadBalancer"]
    assert {port["targetPort"] for port in balanced["spec"]["ports"]} == set(config.listeners)
    assert balanced["spec"]["externalTrafficPolicy"] == "Local"


def test_every_file_that_the_configuration_names_is_mounted() -> None:
    config = load_config(KUBERNETES / "relay.yaml", {})
    [container] = pod()["containers"]
    mounted = [Path(mount["mountPath"]) for mount in container["volumeMounts"]]
    volumes = {volume["name"] for volume in pod()["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    assert config.store.password_file is not None
    keys = [key.key for identity in config.identities.values() for key in identity.dkim]
    named = [config.store.password_file, config.tls.certificate, config.tls.key, *keys]
    for file in named:
        there = Path("/etc/relay") / file.relative_to(KUBERNETES)
        assert any(place in there.parents for place in mounted), there
    assert config.data_dir in mounted


def test_a_pod_is_not_root_may_nothing_and_has_time_to_drain() -> None:
    config = load_config(KUBERNETES / "relay.yaml", {})
    [container] = pod()["containers"]
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    command = container["lifecycle"]["preStop"]["exec"]["command"]
    found = re.fullmatch(r"sleep (\d+); exec relay drain --timeout (\S+)", command[-1])
    assert found is not None
    assert command[:-1] == ["sh", "-c"]
    before = int(found[1]) + parse_duration(found[2])
    given = pod()["terminationGracePeriodSeconds"]
    assert given > before + config.shutdown.grace + ENDS_WITHIN_S
