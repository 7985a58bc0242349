"""From a real refusal to the list, and from the list to what is sent and what is not."""

from tests.e2e.program import Program, wait_until
from tests.e2e.receiver import Receiver

GONE = "Gone@dest.test"


def no_such_user(stage: str, text: str) -> str | None:
    return "550 5.1.1 No such user" if stage == "rcpt" and GONE in text else None


def test_a_dead_address_is_kept_from_the_sets_that_heed_it_and_from_no_other(
    program: Program, receiver: Receiver
) -> None:
    def sets(document: dict) -> None:
        pool = document["configuration_sets"]["default"]["pool"]
        document["configuration_sets"] |= {
            "resets": {"pool": pool, "suppression": []},
            "news": {"pool": pool, "suppression": ["complaint"]},
        }

    def send(name: str) -> None:
        headers = f"X-SES-CONFIGURATION-SET: {name}\r\n"
        program.send([GONE.upper()], headers=headers, message_id=f"<{name}@client.test>")

    program.configure(sets)
    receiver.behave = no_such_user
    program.start()
    program.send([GONE], headers="X-SES-CONFIGURATION-SET: news\r\n", message_id="<first@x>")
    wait_until(lambda: program.metric("relay_recipients_bounced_total") == 1, what="a bounce")
    assert program.run("suppression", "why", GONE, check=False).returncode == 1

    program.send([GONE], message_id="<second@x>")
    wait_until(lambda: program.json("suppression", "list") != [], what="the entry")
    why = program.json("suppression", "why", GONE.lower())
    entry = why["entry"]
    assert (entry["address"], entry["reason"], entry["source"]) == (GONE, "bounce", "bounce")
    assert entry["evidence"] == "550 5.1.1 No such user"
    assert entry["message_id"]
    assert entry["remote_host"]
    held = {one["configuration_set"]: one["holds"] for one in why["sets"]}
    assert held == {"default": True, "resets": False, "news": False}

    receiver.behave = lambda stage, text: None
    for name in ("default", "resets", "news"):
        send(name)
    wait_until(lambda: {"<resets@client.test>", "<news@client.test>"} <= set(receiver.ids()))
    assert program.metric("relay_recipients_suppressed_total", configuration_set="default") == 1
    assert "<default@client.test>" not in receiver.ids()

    program.run("suppression", "remove", GONE)
    program.send([GONE], message_id="<forgiven@client.test>")
    wait_until(lambda: "<forgiven@client.test>" in receiver.ids(), what="mail to the address")
    changes = program.json("suppression", "log", GONE)
    assert [change["what"] for change in changes] == ["removed", "added"]
    assert changes[0]["by"]
    assert changes[1]["by"] == ""


def test_an_import_goes_in_beside_the_mail_and_counts_at_once(
    program: Program, receiver: Receiver
) -> None:
    program.start()
    lines = "".join(f"u{number}@dest.test,BOUNCE\n" for number in range(5_000))
    imported = program.run("suppression", "import", "-", stdin=lines)
    assert imported.stdout == "5,000 new, 0 replaced, 0 lines skipped\n"
    program.send(["U4999@dest.test", "alive@dest.test"])
    wait_until(lambda: len(receiver.messages) == 1, what="delivery")
    assert receiver.messages[0].recipients == ("alive@dest.test",)
    taken_off = program.run("suppression", "import", "-", "--delete", stdin=lines)
    assert taken_off.stdout == "5,000 removed, 0 not on the list, 0 lines skipped\n"
