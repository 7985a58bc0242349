"""What holds where the configuration says nothing."""

import ipaddress

from relay.config.model import Bounds, Delivery, Metrics


def test_a_client_has_a_minute_to_log_in_and_five_for_a_command() -> None:
    assert 30 <= Bounds().login_timeout <= 60
    assert Bounds().command_timeout == 300
    assert Bounds().data_timeout <= 300


def test_a_peer_has_the_time_that_the_standard_gives_it() -> None:
    """RFC 5321 §4.5.3.2: five minutes for a command, three for a block, ten for the final dot."""
    assert Delivery().command_timeout >= 300
    assert Delivery().data_timeout >= 180
    assert Delivery().final_timeout >= 600


def test_what_operators_read_is_served_on_loopback() -> None:
    host, _, _ = Metrics().address.rpartition(":")
    assert ipaddress.ip_address(host).is_loopback
