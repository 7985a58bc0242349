from relay.admin.nodes import DrainStatus


def test_a_drain_says_how_far_it_is_and_ends_once_it_is_drained(run, running):
    relay, _ = running
    relay.drains = [DrainStatus("draining", 1, 20, 2), DrainStatus("drained", others=("b", "c"))]

    ran = run("drain")

    assert ran.code == 0
    assert (
        ran.err == "draining: 1 session, 20 deliveries in memory, 2 connections to destinations\n"
    )
    assert "its mail is for b, c" in ran.out
    assert relay.is_drained


def test_a_drained_lone_relay_says_that_its_queue_waits(run, running):
    relay, _ = running
    relay.drains = [DrainStatus("drained")]

    assert "the queue waits" in run("drain").out
    assert run("drain", "--json").json["state"] == "drained"


def test_a_drain_that_takes_longer_exits_1_and_goes_on(run, running):
    relay, _ = running
    relay.drains = [DrainStatus("draining", sessions=3)]

    ran = run("drain", "--timeout", "1s")

    assert ran.code == 1
    assert "not drained within 1s (3 sessions" in ran.err
    assert relay.is_drained


def test_who_waits_for_a_drain_hears_that_somebody_has_ended_it(run, running):
    relay, _ = running
    relay.drains = [DrainStatus("serving")]

    ran = run("drain")

    assert ran.code == 1
    assert "somebody has had the relay serve again" in ran.err


def test_a_drained_relay_serves_again(run, running):
    relay, _ = running
    relay.is_drained = True

    assert run("drain", "--off").out == "the relay serves\n"
    assert not relay.is_drained


def test_a_timeout_out_of_bounds_is_refused(run, running):
    assert run("drain", "--timeout", "0s").code == 2
    assert run("drain", "--timeout", "soon").code == 2
