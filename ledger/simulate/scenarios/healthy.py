"""Fleets that nobody should disturb: whatever speaks here is a false alarm."""

from __future__ import annotations

from ledger.simulate.acts import (
    Behaviour,
    CallModel,
    CallTool,
    Constrain,
    HandOff,
    Me,
    Plan,
    Produce,
    Receive,
    Return,
    Script,
    Spawn,
    Think,
    Verify,
    Wait,
)
from ledger.simulate.scenario import healthy
from ledger.simulate.scenarios.habits import MINUTE, SECOND, around, turns, worker


@healthy("a wide batch that drains: 30 short tasks, six at a time", task="Resize the pictures.")
def wide_batch(me: Me) -> Script:
    """30 children ever, never more than six open."""
    yield Plan("resize", ("list", "resize", "check"))
    for batch in range(5):
        for number in range(6):
            task = f"Resize picture {6 * batch + number} of 30."
            yield Spawn(worker(2, "resize"), role="hand", task=task)
        yield Wait()
    yield from turns(me, 1)


@healthy(
    "a lead with 20 tasks asks again, as it is told to, until a place is free",
    may=("runaway_fan_out",),
    limit="agent.open_children_max",
    task="Transcribe the interviews.",
)
def waits_for_a_place(me: Me) -> Script:
    """Who heeds `retry_ms` is listening, however often he is refused."""
    for number in range(20):
        task = f"Transcribe interview {number} of 20."
        spawn = Spawn(worker(5, "transcribe"), role="typist", task=task)
        for _ in range(60):
            denial = (yield spawn).denied
            if denial is None or not denial.retry_ms:
                break
            yield Think(denial.retry_ms)
    yield Wait()


_TOPICS = (
    "history of the method since its first paper",
    "benchmarks that others have published with figures",
    "licences, prices and who stands behind it",
    "open problems that practitioners write about",
)


@healthy("a research team: a lead and 4 agents with 10 to 15 tool calls each", task="Survey it.")
def research_team(me: Me) -> Script:
    """The rule of thumb for a comparison of some depth."""
    yield from turns(me, 2, cache_write=8_000)
    for topic in _TOPICS:
        calls = me.random.randint(10, 15)
        yield Spawn(worker(calls, cache_read=12_000), role="researcher", task=f"Find the {topic}.")
        yield Think(around(me, SECOND))
    yield Wait()
    yield from turns(me, 2, "write", cache_read=30_000, output=2_000)
    yield Produce("survey")


@healthy(
    "a comparison: 3 agents in their own processes, 10 to 15 calls each", task="Compare three."
)
def comparison(me: Me) -> Script:
    """As the research team, over three processes."""
    yield from turns(me, 1)
    for name in ("alpha", "beta", "gamma"):
        calls = me.random.randint(10, 15)
        yield Spawn(
            worker(calls, cache_read=9_000),
            role="comparer",
            task=f"Describe {name} with sources.",
            own_process=True,
        )
    yield Wait()
    yield CallModel(cache_read=20_000, output=1_500)


@healthy(
    "a simple fact: 1 agent, 3 to 10 tool calls, each asked for by name",
    by_name=True,
    task="When was the bridge built?",
)
def simple_fact(me: Me) -> Script:
    """A client without leases: every act is a request."""
    yield from turns(me, me.random.randint(3, 10))
    yield Produce("answer")


@healthy("a polling job whose result changes: 60 looks, one a minute", task="Wait for the build.")
def polling_job(me: Me) -> Script:
    """The same call with the same arguments, and another answer each time."""
    for minute in range(60):
        yield CallTool("status", {"build": 12}, result=f"{100 * minute // 60} %", ms=300)
        yield Think(MINUTE)
    yield CallModel(output=100)


@healthy(
    "a job that stays queued for twenty looks, and then is done",
    may=("repeated_step",),
    limit="findings.repeated_step.deny_repeats",
    task="Wait for the training run.",
)
def queued_job(me: Me) -> Script:
    """No call tells this from a loop: it is refused, does something else as it is told to, and
    may look again. What must not happen is that it never learns that the job is done."""
    for _ in range(40):
        done = me.now_ms > 20 * MINUTE
        look = CallTool("status", {"job": 3}, result="done" if done else "queued", ms=300)
        if (yield look).denied:
            yield CallTool("read_log", {"at": me.now_ms}, result=me.now_ms)
        elif done:
            break
        yield Think(MINUTE)
    yield Produce("model")


_TEMPLATE = (
    "You are a careful researcher on a team. Find the most reliable sources about the topic "
    "below, read them in full, and write down what they agree on, where they differ, and which "
    "figures they give. Quote each source with its address. Do not guess. When you are done, "
    "return a summary of at most two pages to the lead. The topic is {}."
)


@healthy(
    "five researchers with one long prompt that differs in a word",
    may=("duplicated_work",),
    task="Compare sources of energy.",
)
def templated_tasks(me: Me) -> Script:
    """Near fingerprints of long texts are close; nothing may be refused for that."""
    for topic in ("solar power", "wind power", "tidal power", "nuclear power", "wood"):
        yield Spawn(worker(6), role="researcher", task=_TEMPLATE.format(topic))
    yield Wait()


_STAGES = ("intake", "draft", "facts", "style", "law", "layout", "review", "publish")


@healthy("a long pipeline: eight stages hand five articles on", task="Publish five articles.")
def handoff_pipeline(me: Me) -> Script:
    """Each stage has its own work; constraints travel with it."""
    yield Constrain("no-names", "Name no private person.")
    names: list[str] = []
    following = ""
    for stage in reversed(_STAGES):
        answer = yield Spawn(
            _stage(stage, following),
            role=stage,
            task=f"Do the {stage} of every article.",
            constraints=("no-names",),
        )
        following = answer.agent
        names.append(following)
    for article in range(5):
        yield HandOff(names[-1], f"article {article}", ("no-names",), "transfer")
        yield Think(around(me, 20 * SECOND))
    yield Wait()


def _stage(stage: str, following: str) -> Behaviour:
    def work(me: Me) -> Script:
        for _ in range(5):
            got = (yield Receive()).handoff
            if got is None:
                return
            yield CallModel(cache_read=6_000, ms=around(me, 6 * SECOND))
            yield CallTool(stage, {"article": got.goal}, result=f"{stage} {got.goal}")
            if following:
                yield HandOff(following, got.goal, got.constraints, "transfer")
            else:
                yield Produce(got.goal)
                yield Verify(got.goal)

    return work


@healthy("a lead asks an expert three times and gets answers back", task="Check three clauses.")
def asks_an_expert(me: Me) -> Script:
    """Delegation that waits, and returns."""
    expert = (yield Spawn(_expert, role="expert", task="Answer questions of law.")).agent
    for clause in range(3):
        yield CallModel(ms=around(me, 4 * SECOND))
        yield HandOff(expert, f"Is clause {clause} valid?", mode="delegate_and_wait")
    yield Wait()


def _expert(me: Me) -> Script:
    for _ in range(3):
        got = (yield Receive()).handoff
        if got is None:
            return
        yield CallTool("statutes", {"about": got.goal}, result=got.goal)
        yield CallModel(ms=around(me, 4 * SECOND), output=700)
        yield Return(got, result=f"valid: {got.goal}")


@healthy("a flaky upstream: calls fail once or twice, back off, and work", task="Fetch the rates.")
def flaky_upstream(me: Me) -> Script:
    """Two equal failures are weather."""
    for day in range(20):
        args = {"day": day}
        for attempt in range(me.random.choice((0, 0, 0, 1, 2))):
            yield CallTool("rates", args, ms=200, error="503 unavailable", retry=attempt > 0)
            yield Think(SECOND * 2**attempt)
        yield CallTool("rates", args, result=day, ms=300, retry=True)
    yield CallModel(output=300)


@healthy("three levels of delegation with work at each", task="Plan, build and test the module.")
def three_levels(me: Me) -> Script:
    """Depth that the policy allows."""
    for part in ("parser", "printer"):
        yield Spawn(_builder(part), role="builder", task=f"Build the {part} of the module.")
    yield Wait()
    yield Verify("module")


def _builder(part: str) -> Behaviour:
    def build(me: Me) -> Script:
        yield from turns(me, 4, "edit")
        task = f"Test the {part} with odd input."
        yield Spawn(_tester(part), role="tester", task=task)
        yield from turns(me, 2, "edit")
        yield Wait()

    return build


def _tester(part: str) -> Behaviour:
    def test(me: Me) -> Script:
        yield from turns(me, 3, "run")
        yield Spawn(worker(2, "fuzz"), role="fuzzer", task=f"Fuzz the {part} for a minute.")
        yield Wait()

    return test
