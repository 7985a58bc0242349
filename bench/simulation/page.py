"""The page: what each scenario is about, and what came out, with the plots beside it."""

from bench.simulation import blocked, fairness, limits, recovery, warmup
from bench.simulation.figures import by_set, table

HEAD = """\
# Days of delivering, simulated

Made by `python -m bench.simulation` in {seconds:.0f} s.

The scheduler, the dispatcher, lanes, workers, limits, sites, reactions, warm-ups, transactions \
and the store (every statement of its SQL) are the real ones. Simulated are the clock, which jumps \
to the next timer, and what is beyond the connections: providers that count in exact sliding \
windows and answer in the words of real ones. A run is the same every time. The tests play each \
scenario small (`tests/bench/test_simulation.py`); figures here are of the long ones.
"""


def limits_section(outcome: limits.Outcome) -> str:
    rows = [
        (w.provider, w.source, w.limit, f"{w.most:,}", _verdict(w.most <= w.allowed))
        for w in outcome.watched
    ]
    return f"""
## Limits are kept in every window

{limits.BLASTS} blasts a day for {outcome.days:g} days, more than may go; {outcome.accepted:,} \
recipients accepted, {outcome.taken:,} taken, {outcome.refusals} refused for being too many. \
"Most" is what the provider saw in the fullest window, wherever that began. South was down for an \
hour from the first minute on.

{table(("provider", "source", "limit", "most", "kept"), rows)}

![what each provider took](simulation/plots/limits.png)

Of several rates of one path the slowest decides at nearly every moment, because a rate is an even \
flow: 600/h is one in six seconds, so that 10/s beside it is never reached.
"""


def fairness_section(
    alone: fairness.Latencies, beside: fairness.Latencies, sharing: fairness.Sharing
) -> str:
    head = ("set", "messages", "median s", "99 % s", "worst s")
    campaign = len(beside.by_set["campaign"])
    return f"""
## A campaign delays nobody else

A campaign of {campaign:,} recipients, accepted at {fairness.INJECTED} a second into a working set \
of {fairness.WORKING_SET:,}, lasts for {beside.lasted:.0f} s. Transactional sets send about one \
message a second each to the same domains and to others; one set sends to a destination that takes \
ten seconds over each message.

Without the campaign:

{table(head, by_set(dict(sorted(alone.by_set.items()))))}

Beside it:

{table(head, by_set(dict(sorted(beside.by_set.items()))))}

{len(sharing.shares)} equal campaigns, accepted one after the other, then share a source of 20/s. \
Until the first of them was over they had got through: \
{", ".join(f"{count:,}" for count in sharing.shares.values())} recipients: Jain's index \
**{sharing.index:.3f}** (1: all the same).

![latencies and shares](simulation/plots/fairness.png)
"""


def warmup_section(outcome: warmup.Outcome) -> str:
    shown = [day for day in outcome.days if day.number % 5 == 0 or day.number == 1]
    rows = [
        (day.number, f"{day.allowance:,}", f"{day.sent:,}", f"{day.sent / day.allowance:.1%}")
        for day in shown
    ]
    used = sum(day.sent for day in outcome.days) / sum(outcome.planned)
    after = (
        "not in this time"
        if outcome.completed_after is None
        else (f"after {outcome.completed_after:.2f} days")
    )
    return f"""
## A warm-up follows its curve

A new address beside a warm one, {len(outcome.planned)} days from {outcome.planned[0]} to \
{outcome.planned[-1]:,} a day, with more mail each day than it may send. It was warm {after}; it \
used {used:.1%} of its allowances. The most that any 24 hours had above the allowance: \
{max(0, outcome.excess)}. 99 % of all mail was at its provider within {outcome.latency:.1f} s: \
nothing waits for an allowance while a warm address may send it.

{table(("day", "allowance", "sent", "used"), rows)}

![sent against plan](simulation/plots/warmup.png)
"""


def recovery_section(outcome: recovery.Outcome) -> str:
    hours = len(outcome.offered) / 60
    return f"""
## After a complaint it goes slower, and does not snap back

A provider takes {outcome.allowed} recipients a minute and says 421 4.7.28 to what is more; nobody \
told the relay. Over {hours:.0f} hours with a backlog, the first ten minutes aside, \
{outcome.refused_share:.2%} of what was offered was refused, and {outcome.used:.0%} of what the \
provider takes was sent. It complained {len(outcome.rounds)} times; between two complaints were \
{outcome.shortest_peace / 60:.0f} minutes at least. Each halves the rate, which then grows by a \
tenth every ten minutes.

![offered and taken](simulation/plots/recovery.png)
"""


def blocked_section(outcome: blocked.Outcome) -> str:
    start, end = (moment / 3600 for moment in outcome.blocked)
    rows = [
        (name, f"{outcome.latency(name, 0.5):.2f}", f"{outcome.latency(name):.2f}")
        for name in ("one", "two")
    ]
    return f"""
## One address of a pool is blocked

Pool one sends from {blocked.FIRST} and {blocked.SECOND}, pool two from {blocked.THIRD}, to two \
providers. From hour {start:g} to {end:g} one provider answers {blocked.FIRST} with 550 5.7.1 and \
the words of a blocklist. In that time it was offered {len(outcome.offered)} recipients from \
there; of {outcome.accepted:,} recipients {outcome.bounced} bounced.

{table(("set", "median s", "99 % s"), rows)}

![which source sent how much](simulation/plots/blocked.png)
"""


def _verdict(kept: bool) -> str:
    return "yes" if kept else "**no**"
