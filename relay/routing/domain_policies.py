"""What the domain of a recipient demands of transport, put together from MTA-STS and DANE.

It belongs to finding the site of a domain: asked once, in flight once, remembered for some minutes.
"""

from collections.abc import Callable

from relay.routing.answers import MxAnswer
from relay.routing.sts_policies import Found, StsPolicies
from relay.routing.transport import TransportPolicy


class DomainPolicies:
    """The `Policies` of a running relay, for one configuration in force.

    `sts` is None where MTA-STS is not honoured. `problem` is told of each policy that is announced
    and could not be had, as often as it is looked for.
    """

    def __init__(
        self,
        sts: StsPolicies | None,
        *,
        dane: bool,
        problem: Callable[[str, Found], None] = lambda domain, found: None,
    ) -> None:
        self._sts = sts
        self._dane = dane
        self._problem = problem

    async def find(self, domain: str, answer: MxAnswer) -> tuple[TransportPolicy, float]:
        """The policy of `domain`, whose MX answer is given, and the monotonic time until which it
        may be believed."""
        dane = self._dane and answer.secure
        if self._sts is None:
            return TransportPolicy(dane=dane), float("inf")
        found = await self._sts.find(domain)
        if found.problem:
            self._problem(domain, found)
        in_force = found.policy if found.policy and found.policy.mode != "none" else None
        return TransportPolicy(in_force, dane), found.until
