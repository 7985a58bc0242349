import io
import sys

import pytest

from relay.admin.control import MAX_BATCH
from relay.cli.files import LONGEST_READ


def test_an_address_is_added_found_listed_and_removed(run, anywhere):
    ran = run("suppression", "add", "Some.One@one.test", "--reason", "complaint", "--evidence", "x")
    assert (ran.code, ran.out) == (0, "1 address added, 0 replaced\n")
    assert "complaint" in run("suppression", "why", "some.one@one.TEST").out
    (entry,) = run("suppression", "list", "--json").json
    assert entry["address"] == "Some.One@one.test"
    assert entry["expires_at"] is None
    assert run("suppression", "remove", "SOME.one@one.test").code == 0
    assert run("suppression", "list").out == "no address is suppressed\n"


def test_adding_again_replaces(run, anywhere):
    run("suppression", "add", "a@one.test", "b@one.test")
    ran = run("suppression", "add", "a@one.test", "--reason", "bounce", "--json")
    assert ran.json == {"new": 0, "replaced": 1}
    assert run("suppression", "why", "a@one.test", "--json").json["entry"]["reason"] == "bounce"


def test_an_entry_may_expire(run, anywhere):
    run("suppression", "add", "a@one.test", "--expires-after", "30d")
    entry = run("suppression", "why", "a@one.test", "--json").json["entry"]
    assert entry["expires_at"] - entry["created_at"] == 30 * 86_400_000


def test_a_list_may_be_narrowed(run, anywhere):
    run("suppression", "add", "a@one.test", "--reason", "bounce")
    run("suppression", "add", "b@two.test")
    listed = run("suppression", "list", "--domain", "two.test", "--json").json
    assert [entry["address"] for entry in listed] == ["b@two.test"]
    listed = run("suppression", "list", "--reason", "bounce", "--json").json
    assert [entry["address"] for entry in listed] == ["a@one.test"]
    limited = run("suppression", "list", "--limit", "1", "--json")
    assert len(limited.json) == 1
    assert "--limit shows more" in limited.err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("why", "a@one.test"), 1),
        (("remove", "a@one.test"), 1),
        (("add", "no-address"), 2),
        (("add",), 2),
        (("add", "a@one.test", "--reason", "dislike"), 2),
        (("add", "a@one.test", "--expires-after", "soon"), 2),
        (("add", "a@one.test", "--expires-after", "99999999999d"), 2),
        (("list", "--limit", "0"), 2),
    ],
)
def test_what_cannot_be_done_is_told_in_the_exit_code(run, config_path, arguments, code):
    ran = run("suppression", *arguments)
    assert ran.code == code
    assert "Traceback" not in ran.err


def test_what_is_exported_can_be_imported(run, anywhere, tmp_path):
    run("suppression", "add", "a@one.test", "--reason", "bounce", "--evidence", 'said "no", twice')
    run("suppression", "add", "b@two.test", "--expires-after", "1d", "--note", "on holiday")
    before = run("suppression", "list", "--json").json
    for name in ("list.csv", "list.jsonl"):
        file = tmp_path / name
        assert run("suppression", "export", "--output", file).code == 0
        run("suppression", "remove", "a@one.test", "b@two.test")
        assert run("suppression", "import", file, "--json").json == {
            "new": 2,
            "replaced": 0,
            "skipped": 0,
        }
        assert run("suppression", "list", "--json").json == before


def test_an_export_to_a_file_is_private_and_whole(run, anywhere, tmp_path):
    file = tmp_path / "list.csv"
    file.write_text("old")
    run("suppression", "add", "a@one.test")
    run("suppression", "export", "--output", file)
    assert file.stat().st_mode & 0o077 == 0
    assert file.read_text().splitlines()[1].startswith("a@one.test,manual,")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_bad_lines_are_reported_with_their_number_and_skipped(run, anywhere, tmp_path):
    file = tmp_path / "list.csv"
    file.write_text("address,reason\na@one.test,bounce\nnot an address\nb@one.test,dislike\n")
    ran = run("suppression", "import", file)
    assert ran.code == 1
    assert ran.out == "1 new, 0 replaced, 2 lines skipped\n"
    assert "line 3: 'not an address' is not an address" in ran.err
    assert "line 4: the reason 'dislike' is not one of bounce, complaint, manual" in ran.err


def test_thousands_of_bad_lines_do_not_flood_the_terminal(run, config_path, tmp_path):
    file = tmp_path / "list.csv"
    file.write_text("nonsense\n" * 5_000)
    ran = run("suppression", "import", file)
    assert ran.out == "0 new, 0 replaced, 5,000 lines skipped\n"
    assert len(ran.err.splitlines()) == 21


def test_a_list_of_several_batches_is_imported_whole(run, anywhere, tmp_path):
    file = tmp_path / "list.txt"
    file.write_text("".join(f"u{n}@one.test\n" for n in range(2 * MAX_BATCH + 1)))
    ran = run("suppression", "import", file, "--reason", "complaint", "--json")
    assert ran.json == {"new": 2 * MAX_BATCH + 1, "replaced": 0, "skipped": 0}
    assert len(run("suppression", "list", "--limit", "9999", "--json").json) == 2 * MAX_BATCH + 1


def test_standard_input_can_be_imported(run, config_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"address": "a@one.test"}\n'))
    assert run("suppression", "import", "-").out == "1 new, 0 replaced, 0 lines skipped\n"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_standard_input_is_read_as_files_are_whatever_the_locale(
    run, anywhere, monkeypatch, encoding
):
    octets = b"a@one.test\ncaf\xe9@one.test\n\xc3\xa9@one.test\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(octets), encoding))
    assert run("suppression", "import", "-").out == "2 new, 0 replaced, 1 lines skipped\n"
    listed = run("suppression", "list", "--json").json
    assert [entry["address"] for entry in listed] == ["a@one.test", "é@one.test"]


def test_octets_that_are_not_utf_8_spoil_one_line_only(run, config_path, tmp_path):
    file = tmp_path / "list.csv"
    file.write_bytes(b"a@one.test\ncaf\xe9@one.test\nb@one.test\n")
    ran = run("suppression", "import", file)
    assert ran.out == "2 new, 0 replaced, 1 lines skipped\n"


def test_a_note_that_is_not_utf_8_is_refused_or_marked_and_breaks_nothing(run, anywhere):
    ran = run("suppression", "add", "a@one.test", "--note", "caf\udce9")
    assert "not UTF-8" in ran.err or ran.code == 0
    listed = run("suppression", "list", "--json").json
    assert [entry["note"] for entry in listed] in ([], ["caf?"])


def test_a_line_of_any_length_is_one_line_and_is_not_held_whole(run, config_path, tmp_path):
    file = tmp_path / "list.csv"
    file.write_text("a@one.test\n" + "x" * 3 * LONGEST_READ + "\nno address\nb@one.test")
    ran = run("suppression", "import", file)
    assert ran.out == "2 new, 0 replaced, 2 lines skipped\n"
    assert "line 2: has more than" in ran.err
    assert "line 3: 'no address'" in ran.err


def test_a_file_that_is_not_there_is_told(run, config_path):
    ran = run("suppression", "import", "missing.csv")
    assert (ran.code, ran.err) == (1, "relay: cannot read missing.csv: No such file or directory\n")


def test_why_tells_for_which_sets_an_entry_holds(run, anywhere, config_path):
    run("suppression", "add", "a@one.test", "--reason", "bounce", "--note", "asked twice")
    found = run("suppression", "why", "A@one.test")
    assert found.code == 0
    assert "a@one.test is suppressed" in found.out
    assert "asked twice" in found.out
    why = run("suppression", "why", "a@one.test", "--json").json
    assert [(one["configuration_set"], one["holds"]) for one in why["sets"]] == [
        ("bills", True),
        ("news", True),
    ]
    assert why["sets"][0]["why"] == "the account's reasons are: bounce, complaint"
    assert [change["what"] for change in why["changes"]] == ["added"]


def test_why_tells_of_what_was_on_the_list(run, anywhere):
    run("suppression", "add", "a@one.test")
    run("suppression", "remove", "a@one.test")
    ran = run("suppression", "why", "a@one.test")
    assert ran.code == 1
    assert "a@one.test is not on the suppression list" in ran.out
    assert "removed" in ran.out


def test_the_log_tells_who_changed_what(run, anywhere, tmp_path):
    file = tmp_path / "list.csv"
    file.write_text("a@one.test\nb@one.test\nnonsense\n")
    run("suppression", "add", "a@one.test")
    run("suppression", "import", file)
    run("suppression", "remove", "b@one.test")
    changes = run("suppression", "log", "--json").json
    assert [change["what"] for change in changes] == ["removed", "imported", "added"]
    assert all(change["by"] for change in changes)
    assert (changes[1]["entries"], changes[1]["changed"]) == (2, 1)
    assert "1 lines were not taken" in changes[1]["detail"]
    of_one = run("suppression", "log", "B@one.test", "--json").json
    assert [change["what"] for change in of_one] == ["removed"]
    assert "2 addresses, 1 new: from list.csv" in run("suppression", "log").out


def test_entries_are_counted(run, anywhere):
    run("suppression", "add", "a@one.test", "b@one.test")
    (counted,) = run("suppression", "count", "--json").json
    assert (counted["reason"], counted["source"], counted["number"]) == ("manual", "operator", 2)


def test_a_file_of_addresses_is_taken_off_the_list(run, anywhere, tmp_path):
    file = tmp_path / "back.jsonl"
    file.write_text('{"emailAddress": "A@one.test"}\n{"emailAddress": "missing@one.test"}\n')
    run("suppression", "add", "a@one.test", "b@one.test")
    ran = run("suppression", "import", file, "--delete")
    assert (ran.code, ran.out) == (0, "1 removed, 1 not on the list, 0 lines skipped\n")
    listed = run("suppression", "list", "--json").json
    assert [entry["address"] for entry in listed] == ["b@one.test"]


def test_a_strict_import_takes_nothing_of_a_file_with_a_bad_line(run, anywhere, tmp_path):
    file = tmp_path / "list.csv"
    file.write_text("a@one.test\nnonsense\n")
    ran = run("suppression", "import", file, "--strict")
    assert ran.code == 1
    assert "line 2" in ran.err
    assert "nothing was imported" in ran.err
    assert run("suppression", "list", "--json").json == []
    assert run("suppression", "log", "--json").json == []
    assert run("suppression", "import", "-", "--strict").code == 2


def test_the_last_line_about_an_address_wins_also_over_another_spelling(run, anywhere, tmp_path):
    file = tmp_path / "list.csv"
    file.write_text("b@one.test,bounce\na@one.test,bounce\nB@one.test,complaint\n")
    run("suppression", "import", file)
    listed = run("suppression", "list", "--json").json
    assert [(entry["address"], entry["reason"]) for entry in listed] == [
        ("a@one.test", "bounce"),
        ("B@one.test", "complaint"),
    ]


def test_what_has_expired_is_listed_and_exported_on_demand(run, anywhere, tmp_path):
    file = tmp_path / "list.jsonl"
    file.write_text('{"address": "a@one.test", "expires_at": "2020-01-01", "bounces": 4}\n')
    run("suppression", "import", file)
    assert run("suppression", "list").out == "no address is suppressed\n"
    (entry,) = run("suppression", "list", "--expired", "--json").json
    assert entry["bounces"] == 4
    assert run("suppression", "export", "--format", "ses-csv").out == ""
    exported = run("suppression", "export", "--expired", "--format", "ses-csv").out
    assert exported == "a@one.test,BOUNCE\n"
