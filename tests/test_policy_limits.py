"""What a policy works out from its fields is its own, and what its roles say holds."""

from ledger.core import policy

LIMITS = policy.AgentLimits(tool_calls_max=7)


def test_a_copy_works_out_its_own() -> None:
    """A digest that two policies share, or limits of another, would be enforced in silence."""
    before = policy.Policy(name="before", agent=LIMITS, roles={"a": policy.AgentOverrides()})
    kept = before.digest, before.for_agent("a"), before.for_agent("").granted
    other = LIMITS.model_copy(update={"tool_calls_max": 9})
    after = before.model_copy(update={"name": "after", "agent": other})

    assert after.digest != kept[0]
    assert after.for_agent("a").tool_calls_max == 9
    assert after.for_agent("").granted[1] == 9
    assert (before.digest, before.for_agent("a"), before.for_agent("").granted) == kept


def test_a_role_has_the_limits_that_it_names_and_the_others_of_all_agents() -> None:
    roles = {"tester": policy.AgentOverrides(model_calls_max=3)}
    limits = policy.Policy(agent=LIMITS, roles=roles)

    assert limits.for_agent("tester").granted == (32, 7, 3, 20_000_000, 40_000_000)
    assert limits.for_agent("other") is limits.agent
    assert limits.for_agent("tester") is limits.for_agent("tester")


def test_what_was_worked_out_is_no_part_of_a_policy() -> None:
    """Equal policies have equal texts, whatever was asked of them before."""
    asked = policy.Policy(agent=LIMITS)
    assert asked.agent.granted

    assert asked == policy.Policy(agent=LIMITS)
    assert asked.text == policy.Policy(agent=LIMITS).text
