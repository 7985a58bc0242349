"""Mail to the mailbox simulator: no quota counts it, rates do, and no list is asked."""

from dataclasses import replace

import pytest

from relay.admission.submission import Refusal
from relay.mail.envelope import Recipient
from relay.store.values import NewMessage
from tests.admission.test_admission import NOW, Bench

SIMULATOR = "simulator.relay.test"


@pytest.fixture
def bench(configured):
    def make(**more) -> Bench:
        app = {"configuration_set": "transactional", **more.pop("app", {})}
        return Bench(configured(credentials={"app": app}, **more))

    return make


@pytest.fixture
def to(submission):
    """A submission to these addresses."""

    def make(*addresses: str):
        one = submission()
        recipients = tuple(map(Recipient, addresses))
        return replace(one, envelope=replace(one.envelope, recipients=recipients))

    return make


async def test_mail_to_the_simulator_counts_in_no_quota_and_passes_one_that_is_used_up(bench, to):
    b = bench(app={"quota": 2, "on_limit": "reject"}, account={"quota": 2, "on_limit": "reject"})
    for _ in range(5):
        assert isinstance(await b.admit(to(f"success@{SIMULATOR}")), NewMessage)
    assert b.store.used == {}
    assert isinstance(await b.admit(to("a@x.test", "b@x.test")), NewMessage)
    assert isinstance(await b.admit(to("a@x.test")), Refusal)
    assert isinstance(await b.admit(to(f"success@{SIMULATOR}")), NewMessage)


async def test_a_message_to_both_is_charged_for_the_real_recipients(bench, to):
    b = bench(app={"quota": 10, "on_limit": "reject"})
    for _ in range(10):
        assert isinstance(await b.admit(to("a@x.test", f"success@{SIMULATOR}")), NewMessage)
    refusal = await b.admit(to("a@x.test", f"success@{SIMULATOR}"))
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "quota"


async def test_the_rate_holds_for_the_simulator_and_is_shared_with_real_mail(bench, to):
    b = bench(app={"rate": "1/s", "on_limit": "reject"})
    assert isinstance(await b.admit(to(f"success@{SIMULATOR}")), NewMessage)
    for one in (to("a@x.test"), to(f"success@{SIMULATOR}")):
        refusal = await b.admit(one)
        assert isinstance(refusal, Refusal)
        assert refusal.reason == "rate"
        assert "The rate of credential app is 1/s." in refusal.reply.text
    assert b.metric('relay_limit_waits_total{kind="rate",level="credential",name="app"} 2.0')


async def test_what_a_mixed_message_costs_of_the_rate_is_paid_by_the_next(bench, to):
    b = bench(app={"rate": "2/s"})
    mixed = await b.admit(to("a@x.test", f"success@{SIMULATOR}", f"bounce@{SIMULATOR}"))
    assert isinstance(mixed, NewMessage)
    assert mixed.due_at == NOW
    after = await b.admit(to("a@x.test"))
    assert isinstance(after, NewMessage)
    assert after.due_at - NOW == pytest.approx(1500, abs=2)


async def test_only_the_mailbox_for_it_is_withheld_as_if_it_were_suppressed(bench, to):
    b = bench()
    new = await b.admit(to("a@x.test", f"Suppressionlist+7@{SIMULATOR}", f"success@{SIMULATOR}"))
    assert isinstance(new, NewMessage)
    assert new.withheld == {f"Suppressionlist+7@{SIMULATOR}"}
    elsewhere = await b.admit(to("suppressionlist@x.test"))
    assert isinstance(elsewhere, NewMessage)
    assert not elsewhere.withheld


async def test_without_simulator_addresses_its_domain_is_like_any_other(bench, to):
    b = bench(app={"quota": 1, "on_limit": "reject"}, simulator_addresses=False)
    new = await b.admit(to(f"suppressionlist@{SIMULATOR}"))
    assert isinstance(new, NewMessage)
    assert not new.withheld
    assert isinstance(await b.admit(to(f"success@{SIMULATOR}")), Refusal)


async def test_content_that_is_rejected_is_accepted_and_marked(bench, to):
    new = await bench().admit(replace(to("a@x.test"), rejected="Bad content"))
    assert isinstance(new, NewMessage)
    assert new.rejected == "Bad content"
