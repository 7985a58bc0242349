import pytest

from relay.config.shipped import shipped_text


@pytest.fixture
def shaped(config_path):
    text = config_path.read_text()
    config_path.write_text(text + "providers:\n  orange:\n    rate: [3/s, 900/h]\n")
    return config_path


def test_definitions_are_listed_with_what_is_in_force_without_a_running_relay(run, shaped):
    for words in (("providers",), ("providers", "list")):
        ran = run(*words)
        assert ran.code == 0
        for text in ("google", "orange", "default", "all others", "3/s, 900/h"):
            assert text in ran.out


def test_one_definition_is_shown_with_all_that_it_matches(run, shaped):
    ran = run("providers", "list", "orange")
    assert "*.wanadoo.fr" in ran.out
    assert "google" not in ran.out
    [found] = run("providers", "list", "orange", "--json").json
    assert found["connections"] == 2
    assert found["rates"] == ["3/s", "900/h"]


def test_a_name_that_is_none_is_told_with_the_nearest(run, shaped):
    ran = run("providers", "list", "gogle")
    assert ran.code == 1
    assert "did you mean google?" in ran.err


def test_what_ships_is_printed_as_it_may_be_copied(run):
    assert run("providers", "show").out == shipped_text("providers.yaml")
