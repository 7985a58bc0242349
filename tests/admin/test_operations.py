import pytest

from relay.admin.control import (
    MAX_BATCH,
    CredentialRequest,
    MessageRequest,
    NewSecret,
    Refused,
)
from relay.admin.suppression import AddressesRequest, AddressRequest, SuppressRequest
from relay.config.passwords import verify
from relay.frontend.authenticator import Authenticator
from relay.store.secrets import encoded_hash
from relay.store.values import QueueFilter, SuppressionEntry
from tests.admin.stored import NOW, a_config, a_message, operations_over

PASSWORD = "correct horse battery"


async def stored(operations, *messages):
    for message in messages:
        await operations.store.insert(message, None)
    return [message.message.id for message in messages]


def entry(address, **more):
    return SuppressionEntry(address, "manual", "operator", NOW, **more)


async def test_the_queue_is_listed_with_what_an_operator_asks_about(operations):
    (message_id,) = await stored(operations, a_message("a@one.test", "b@one.test"))
    (found,) = await operations.queue(QueueFilter())
    assert found.message_id == message_id
    assert found.recipients == ("a@one.test", "b@one.test")
    assert found.state == "queued"


async def test_a_listing_without_an_end_is_refused(operations):
    with pytest.raises(Refused, match="limit"):
        await operations.queue(QueueFilter(limit=10**9))


async def test_a_message_is_shown_with_header_tags_and_deliveries(operations):
    (message_id,) = await stored(
        operations, a_message("a@one.test", "b@two.test", header=b"Subject: caf\xe9\r\n")
    )
    shown = await operations.message(MessageRequest(message_id))
    assert shown.header == "Subject: caf\\xe9\r\n"
    assert shown.tags == (("campaign", "spring"),)
    assert {delivery.domain for delivery in shown.deliveries} == {"one.test", "two.test"}


async def test_a_message_that_is_not_there_is_told_as_such(operations):
    with pytest.raises(Refused, match="no message nope is in the queue") as refused:
        await operations.message(MessageRequest("nope"))
    assert refused.value.kind == "not_found"


async def test_retry_makes_deliveries_due_now(operations):
    await stored(operations, a_message("a@one.test", due_at=NOW + 5_000))
    assert (await operations.retry(QueueFilter())).count == 1
    (found,) = await operations.queue(QueueFilter())
    assert found.due_at == NOW


async def test_held_mail_waits_until_it_is_released(operations):
    await stored(operations, a_message("a@one.test"), a_message("b@two.test"))
    owner = await operations.store.register("worker", 60_000)
    assert (await operations.hold(QueueFilter(domain="one.test"))).count == 1
    (claimed,) = await operations.store.claim(owner, NOW, 10)
    assert claimed.domain == "two.test"
    assert (await operations.release(QueueFilter(state="held"))).count == 1
    (released,) = await operations.store.claim(owner, NOW, 10)
    assert released.domain == "one.test"


async def test_a_bounced_message_leaves_the_queue_and_its_sender_is_told(operations):
    (message_id,) = await stored(operations, a_message("a@one.test", "b@two.test"))
    assert (await operations.bounce(QueueFilter(message_id=message_id))).count == 2
    left = await operations.queue(QueueFilter())
    assert [(report.reverse_path, report.recipients) for report in left] == [
        ("", ("app@sender.test",)),
        ("", ("app@sender.test",)),
    ]


async def test_an_operators_bounce_does_not_suppress_anyone(operations):
    await stored(operations, a_message("a@one.test"))
    await operations.bounce(QueueFilter())
    assert await operations.store.suppressions.count() == 0


async def test_a_bounced_report_is_not_reported_again(operations):
    await stored(operations, a_message("app@sender.test", reverse_path=""))
    assert (await operations.bounce(QueueFilter())).count == 1
    assert await operations.queue(QueueFilter()) == []


async def test_a_delivery_that_is_being_attempted_is_not_bounced(operations):
    await stored(operations, a_message("a@one.test"))
    owner = await operations.store.register("worker", 60_000)
    (claimed,) = await operations.store.claim(owner, NOW, 10)
    assert (await operations.bounce(QueueFilter())).count == 0
    assert [found.delivery_id for found in await operations.queue(QueueFilter())] == [claimed.id]


async def test_a_bounce_stops_at_its_limit(operations):
    await stored(operations, *(a_message(f"u{n}@one.test", reverse_path="") for n in range(5)))
    assert (await operations.bounce(QueueFilter(limit=3))).count == 3
    assert len(await operations.queue(QueueFilter())) == 2


async def test_more_bounces_than_one_batch_are_all_done(operations):
    await stored(operations, *(a_message(f"u{n}@one.test", reverse_path="") for n in range(230)))
    assert (await operations.bounce(QueueFilter(limit=10_000))).count == 230
    assert await operations.queue(QueueFilter()) == []


async def test_a_running_relay_is_told_of_each_change(tmp_path):
    told = []

    async def recall(which):
        told.append(f"recall {which.domain}")

    async def secrets_changed():
        told.append("secrets")

    hooks = {
        "recall": recall,
        "gave_up": lambda settlement: told.append(f"gave up {settlement.delivery.domain}"),
        "queue_changed": lambda: told.append("queue"),
        "secrets_changed": secrets_changed,
    }
    async with operations_over(tmp_path / "data", **hooks) as operations:
        await stored(operations, a_message("a@one.test", reverse_path=""))
        await operations.retry(QueueFilter(domain="other.test"))
        await operations.bounce(QueueFilter(domain="one.test"))
        await operations.add_secret(NewSecret("app", PASSWORD))
    assert told == ["recall other.test", "recall one.test", "gave up one.test", "queue", "secrets"]


async def test_suppression_is_added_found_in_any_case_and_removed(operations):
    added = await operations.suppressions.add(SuppressRequest((entry("Some.One@one.test"),)))
    assert added.count == 1
    found = await operations.suppressions.find(AddressRequest("some.one@ONE.test"))
    assert found.address == "Some.One@one.test"
    assert (
        await operations.suppressions.remove(AddressesRequest(("SOME.one@one.test",)))
    ).count == 1
    with pytest.raises(Refused, match="is not suppressed"):
        await operations.suppressions.find(AddressRequest("some.one@one.test"))


async def test_one_bad_address_refuses_its_whole_batch(operations):
    with pytest.raises(Refused, match="is not an address"):
        await operations.suppressions.add(SuppressRequest((entry("good@one.test"), entry("bad"))))
    assert await operations.store.suppressions.count() == 0


async def test_a_batch_beyond_the_bound_is_refused(operations):
    entries = tuple(entry(f"u{n}@one.test") for n in range(MAX_BATCH + 1))
    with pytest.raises(Refused, match="more than"):
        await operations.suppressions.add(SuppressRequest(entries))


async def test_an_added_password_logs_in_and_a_revoked_one_does_not(operations, tmp_path):
    await operations.add_secret(NewSecret("app", PASSWORD))
    authenticator = Authenticator()
    config = a_config(tmp_path)
    authenticator.load(config, await operations.store.secrets())
    assert await authenticator.check("app", PASSWORD, "127.0.0.1") == "app"
    assert (await operations.revoke_secrets(CredentialRequest("app"))).count == 1
    authenticator.load(config, await operations.store.secrets())
    assert await authenticator.check("app", PASSWORD, "127.0.0.1") is None


async def test_only_a_hash_of_a_password_is_stored(operations):
    await operations.add_secret(NewSecret("app", PASSWORD))
    (secret,) = await operations.store.secrets()
    assert PASSWORD.encode() not in secret.digest + secret.salt
    assert verify(PASSWORD, encoded_hash(secret))


async def test_credentials_are_listed_without_any_secret(operations):
    await operations.add_secret(NewSecret("app", PASSWORD))
    listed = {status.name: status for status in await operations.credentials()}
    assert listed["app"].secret_created_at == (NOW,)
    assert listed["web"].enabled is False
    (secret,) = await operations.store.secrets()
    assert repr(secret.digest) not in repr(listed)


@pytest.mark.parametrize(
    ("name", "password", "why"),
    [
        ("nope", PASSWORD, "no credential nope is in the configuration"),
        ("app", "short", "5 characters"),
        ("app", "with\ncontrol characters", "control characters"),
    ],
)
async def test_a_password_that_cannot_work_is_refused(operations, name, password, why):
    with pytest.raises(Refused, match=why):
        await operations.add_secret(NewSecret(name, password))


async def test_revoking_an_unknown_credential_is_refused_and_a_known_one_without_is_not(operations):
    assert (await operations.revoke_secrets(CredentialRequest("app"))).count == 0
    with pytest.raises(Refused, match="no credential nope"):
        await operations.revoke_secrets(CredentialRequest("nope"))


def test_values_that_hold_a_password_do_not_show_it():
    assert PASSWORD not in repr(NewSecret("app", PASSWORD))
