def test_nothing_is_suspended_to_begin_with(run, anywhere):
    ran = run("suspensions")
    assert (ran.code, ran.out) == (0, "nothing is suspended\n")


def test_what_is_suspended_is_listed_until_it_is_resumed(run, anywhere):
    ran = run("suspend", "domain", "Gmail.COM", "--reason", "they asked us to wait", "--for", "2h")
    assert ran.code == 0
    assert ran.out.startswith("domain gmail.com is suspended until ")
    listed = run("suspensions")
    for text in ("domain gmail.com", "they asked us to wait", "Z ("):
        assert text in listed.out
    (entry,) = run("suspensions", "--json").json
    assert entry["until"] - entry["since"] == 7_200_000
    assert run("resume", "domain", "gmail.com").out == "domain gmail.com is resumed\n"
    assert run("suspensions", "--json").json == []


def test_without_an_end_it_lasts_until_it_is_resumed(run, anywhere):
    ran = run("suspend", "set", "news", "--reason", "wrong footer", "--json")
    assert ran.json["until"] is None
    assert ran.json["by"]
    assert "it is resumed" in run("suspensions").out


def test_a_name_that_is_not_configured_is_refused_with_those_that_are(run, anywhere):
    for kind, name, there in (
        ("set", "newz", "bills, news"),
        ("credential", "nobody", "app, web"),
        ("source", "192.0.2.77", "127.0.0.2, 127.0.0.8"),
    ):
        ran = run("suspend", kind, name, "--reason", "x")
        assert ran.code == 1
        assert f"(there: {there})" in ran.err
    ran = run("suspend", "provider", "gogle", "--reason", "x")
    assert "no provider gogle is known (there: " in ran.err
    assert run("suspend", "provider", "google", "--reason", "x").code == 0


def test_what_is_no_domain_address_or_duration_is_told(run, anywhere):
    assert "'a b' is not a domain" in run("suspend", "domain", "a b", "--reason", "x").err
    assert "is not an IP address" in run("suspend", "source", "main", "--reason", "x").err
    ran = run("suspend", "set", "news", "--reason", "x", "--for", "soon")
    assert ran.code == 2
    assert "--for 'soon'" in ran.err


def test_a_suspension_needs_a_reason(run, anywhere):
    assert run("suspend", "set", "news").code == 2
    assert "say why" in run("suspend", "set", "news", "--reason", " ").err


def test_resuming_what_is_not_suspended_exits_1(run, anywhere):
    ran = run("resume", "set", "news")
    assert ran.code == 1
    assert "set news is not suspended" in ran.err
