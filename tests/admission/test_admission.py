"""Admission as a whole: limits after the checks, and the message that comes out."""

import pytest
from prometheus_client import generate_latest

from relay.admission.admission import Admission
from relay.admission.submission import Refusal
from relay.limits.limits import Limits, config_limits
from relay.observe.metrics import Metrics
from relay.store.interface import StoreError
from relay.store.values import NewMessage, Permits

NOW = 1_800_000_000_000


class OnePermitStore:
    """Grants what is asked until the limit is reached; says `frees_at` after that."""

    def __init__(self) -> None:
        self.used: dict[str, int] = {}
        self.broken = False

    async def lease_permits(self, request):
        if self.broken:
            raise StoreError("gone")
        used = self.used.get(request.key, 0)
        if used < request.limit:
            granted = max(request.need, min(request.block, request.limit - used))
            self.used[request.key] = used + granted
            return Permits(granted, request.now)
        at = request.now + 1_800_000
        return Permits(request.need if request.queue else 0, at)

    async def return_permits(self, key, at, count):
        self.used[key] -= count

    async def permits_used(self, keys, window, now):
        return {key: self.used.get(key, 0) for key in keys}


class Bench:
    def __init__(self, config) -> None:
        self.mono = 100.0
        self.store = OnePermitStore()
        self.metrics = Metrics()
        self.limits = Limits(self.store, lambda: self.mono, lambda: NOW)
        self.limits.configure(config_limits(config))
        self.admission = Admission(config, self.limits, config.hostname, self.metrics)

    async def admit(self, submission):
        return await self.admission.admit(submission)

    def metric(self, line: str) -> bool:
        return line in generate_latest(self.metrics.registry).decode()


@pytest.fixture
def bench(configured):
    def make(app=None, account=None) -> Bench:
        credentials = {"app": {"configuration_set": "transactional", **(app or {})}}
        return Bench(configured(credentials=credentials, account=account or {}))

    return make


async def test_an_accepted_message_carries_all_that_later_stages_need(bench, submission):
    one = submission("From: ann@sender.test\r\nX-SES-MESSAGE-TAGS: a=b\r\n")
    new = await bench().admit(one)
    assert isinstance(new, NewMessage)
    assert (new.due_at, new.suppression) == (NOW, ("bounce", "manual"))
    message = new.message
    assert (message.id, message.accepted_at) == (one.id, NOW)
    assert message.expires_at == NOW + 3_600_000
    assert (message.credential, message.configuration_set) == ("app", "transactional")
    assert (message.identity, message.tags) == ("sender.test", (("a", "b"),))
    assert message.envelope is one.envelope
    assert message.body is one.body
    assert message.header.endswith(b"\r\n")
    assert not message.header.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("field", "optional"),
    [("", False), ("TLS-Required: No\r\n", True), ("tls-required:  no \r\n", True),
     ("TLS-Required: Yes\r\n", False)],
)  # fmt: skip
async def test_a_sender_may_say_that_tls_is_optional_and_it_is_passed_on(
    bench, submission, field, optional
):
    new = await bench().admit(submission(f"From: ann@sender.test\r\n{field}"))
    assert isinstance(new, NewMessage)
    assert new.message.tls_optional is optional
    assert (b"required:" in new.message.header.lower()) is bool(field)


async def test_a_refused_message_is_charged_to_no_limit(bench, submission):
    b = bench({"quota": 10, "on_limit": "reject"})
    for _ in range(20):
        assert isinstance(await b.admit(submission("From: eve@evil.test\r\n")), Refusal)
    assert b.store.used == {}


async def test_reject_says_the_seconds_to_wait_and_which_limit_it_is(bench, submission):
    b = bench({"rate": "2/s", "on_limit": "reject"})
    assert isinstance(await b.admit(submission(recipients=9)), NewMessage)
    refusal = await b.admit(submission())
    assert isinstance(refusal, Refusal)
    assert str(refusal.reply) == (
        "454 4.7.1 Throttling failure: Maximum sending rate exceeded. Try again in 5 seconds."
        " The rate of credential app is 2/s."
    )
    assert refusal.reason == "rate"
    assert b.metric('relay_limit_waits_total{kind="rate",level="credential",name="app"} 1.0')
    assert not b.metric("relay_limit_wait_seconds_total{")


async def test_the_daily_quota_is_refused_in_the_words_of_ses(bench, submission):
    b = bench({}, {"quota": 5, "on_limit": "reject"})
    assert isinstance(await b.admit(submission(recipients=7)), NewMessage)
    refusal = await b.admit(submission())
    assert str(refusal.reply) == (
        "454 4.7.1 Throttling failure: Daily message quota exceeded. Try again in 1800 seconds."
        " The quota of the account is 5 in 24 hours."
    )
    assert refusal.reason == "quota"


async def test_queue_accepts_and_makes_the_message_due_when_it_may_go(bench, submission):
    b = bench({"rate": "2/s"})
    due = [(await b.admit(submission())).due_at - NOW for _ in range(4)]
    assert due == pytest.approx([0, 500, 1000, 1500], abs=2)
    new = await b.admit(submission())
    assert new.message.expires_at == new.due_at + 3_600_000
    assert b.metric('relay_limit_waits_total{kind="rate",level="credential",name="app"} 4.0')


async def test_a_queue_is_never_longer_than_a_day_and_the_age_of_the_set(bench, submission):
    b = bench({"rate": "1/h"})
    assert isinstance(await b.admit(submission(recipients=5)), NewMessage)
    for _ in range(4):
        assert isinstance(await b.admit(submission(recipients=5)), NewMessage)
    assert isinstance(await b.admit(submission(recipients=1)), NewMessage)
    refusal = await b.admit(submission())
    assert isinstance(refusal, Refusal)
    assert refusal.reply.code == 454


@pytest.mark.parametrize(
    ("account", "app", "outcome"),
    [("reject", "queue", Refusal), ("queue", "reject", NewMessage), ("queue", "queue", NewMessage)],
)
async def test_each_limit_keeps_to_its_own_way(bench, submission, account, app, outcome):
    b = bench({"rate": "1000/s", "on_limit": app}, {"rate": "1/s", "on_limit": account})
    assert isinstance(await b.admit(submission(recipients=3)), NewMessage)
    b.mono += 0.5
    assert isinstance(await b.admit(submission()), outcome)


async def test_a_store_that_fails_is_a_temporary_failure(bench, submission):
    b = bench({"quota": 5})
    b.store.broken = True
    refusal = await b.admit(submission())
    assert str(refusal.reply) == "451 4.3.0 Temporary service failure; try again later"
    assert refusal.reason == "store failed"


async def test_a_new_configuration_holds_for_the_next_message(bench, submission, configured):
    b = bench()
    assert isinstance(await b.admit(submission()), NewMessage)
    b.admission.reconfigure(configured(credentials={"app": {"enabled": False}}))
    assert (await b.admit(submission())).reason == "credential disabled"
