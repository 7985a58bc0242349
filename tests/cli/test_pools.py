"""`relay pools` and `relay warmup`, with and without a running relay."""

import pytest

ADDRESS = "127.0.0.8"


@pytest.mark.usefixtures("anywhere")
def test_pools_show_each_source_with_its_day_and_allowance(run):
    ran = run("pools")
    assert ran.code == 0
    warm, warming = ran.out.splitlines()[2:]
    assert warm.split() == ["main", "127.0.0.2", "1", "warm"]
    assert " ".join(warming.split()).startswith(
        "fresh 127.0.0.8 1 warming 1 of 3 100, google 10 0, google 0 "
    )
    assert warming.endswith("after 10 more recipients")


@pytest.mark.usefixtures("anywhere")
def test_pools_as_json_have_stable_names(run):
    (_, source) = run("pools", "--json").json
    assert {key: source[key] for key in ("pool", "address", "state", "day", "days", "warmup")} == {
        "pool": "fresh",
        "address": ADDRESS,
        "state": "warming",
        "day": 1,
        "days": 3,
        "warmup": "slow",
    }
    assert source["allowances"][0] == {"provider": "", "allowance": 100, "used": 0}


@pytest.mark.usefixtures("anywhere")
def test_a_warm_up_is_set_paused_resumed_completed_and_restarted(run):
    for arguments, says in (
        (("set", "--day", "2"), "warming up: day 2 of 3, 200 in 24 hours"),
        (("pause",), "paused: day 2 of 3, 200 in 24 hours"),
        (("resume",), "warming up: day 2 of 3, 200 in 24 hours"),
        (("complete",), "warm"),
        (("restart",), "warming up: day 1 of 3, 100 in 24 hours"),
    ):
        ran = run("warmup", arguments[0], ADDRESS, *arguments[1:])
        assert (ran.code, ran.out) == (0, f"{ADDRESS} is {says}\n")


@pytest.mark.usefixtures("anywhere")
def test_a_source_that_does_not_warm_up_is_told_as_such(run):
    ran = run("warmup", "pause", "127.0.0.2")
    assert ran.code == 1
    assert "127.0.0.2 has no warm-up in the configuration" in ran.err
