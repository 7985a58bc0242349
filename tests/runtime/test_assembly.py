"""A configuration whose files cannot be used is named whole, and nothing of it is put in force."""

from pathlib import Path
from typing import Any

import pytest
import trustme

from relay.observe.logging import make_logger
from relay.observe.metrics import Metrics
from relay.routing.health import SourceHealth
from relay.runtime import assembly
from relay.runtime.assembly import AssemblyError, assemble
from tests.delivery.outgoing import Dns, make_config


@pytest.fixture
def config(tmp_path: Path) -> Any:
    leaf = trustme.CA().issue_cert("relay.test")
    leaf.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    leaf.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))

    def make(**more: Any) -> Any:
        return make_config(tmp_path, **more)

    return make


def _assemble(config: Any) -> assembly.Assembly:
    health = SourceHealth(config, Metrics(), make_logger("json", "error"))
    return assemble(config, Dns(), health)


def test_what_can_be_used_is_assembled(config: Any) -> None:
    assert _assemble(config()).contexts.own == {}


def test_authorities_that_cannot_be_read_are_a_problem(config: Any, tmp_path: Path) -> None:
    route = {"to": "smarthost.test:25", "tls": "verify", "ca": tmp_path / "absent.pem"}
    with pytest.raises(AssemblyError) as caught:
        _assemble(config(route=route))
    (problem,) = caught.value.problems
    assert "absent.pem" in problem


def test_dane_with_name_servers_that_may_be_spoken_for_is_a_problem(config: Any) -> None:
    far = config(transport={"dane": True}, delivery={"nameservers": ["192.0.2.53"]})
    with pytest.raises(AssemblyError) as caught:
        _assemble(far)
    assert "192.0.2.53:53" in caught.value.problems[0]
    _assemble(config(transport={"dane": True}, delivery={"nameservers": ["127.0.0.1"]}))
