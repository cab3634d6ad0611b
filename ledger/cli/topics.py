"""`ledger topics`: the topics of a ledger on Kafka, made, checked, and a loss in one accepted."""

from __future__ import annotations

import asyncio
import getpass
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from ledger.cli.examples import example
from ledger.cli.output import complain, one_json, say
from ledger.cli.place import place
from ledger.cli.text import plural

if TYPE_CHECKING:
    from ledger.log.kafka_place import Place
    from ledger.topics import Topic

KAFKA = "--log kafka://127.0.0.1:9092"


class Losing(Enum):
    """The topics whose records are waited for: judges wait for events, archivists for all."""

    EVENTS = "events"
    VERDICTS = "verdicts"
    CONTROL = "control"
    REFUSED = "refused"


app = typer.Typer(
    name="topics",
    help="Create and check the topics of a ledger on Kafka.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON: one object.")]


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.add_typer(app)


@app.command(epilog=example(f"ledger {KAFKA} topics apply", f"ledger {KAFKA} topics apply --json"))
def apply(context: typer.Context, as_json: Json = False) -> None:
    """Create the topics that are missing, and check those that are there: exit 1 if one differs.

    What differs is said, with the remedy, and never changed: a person does. No number of
    partitions is ever changed, no topic ever deleted. Partitions and replicas are those of
    topics.toml, or of the log's URL: `kafka://host:9092/prefix?partitions=8&replication=1`.
    """
    from ledger.log import kafka_topics

    where = place(context).on_kafka()
    created, differing = asyncio.run(kafka_topics.apply(where))
    _answer(where, created, differing, as_json)


@app.command(epilog=example(f"ledger {KAFKA} topics check", f"ledger {KAFKA} topics check --json"))
def check(context: typer.Context, as_json: Json = False) -> None:
    """Check that the topics are there and as they must be: exit 1 if not, with each difference.

    Workers check the same before they read.
    """
    from ledger.log import kafka_topics

    where = place(context).on_kafka()
    try:
        asyncio.run(kafka_topics.check(where))
    except kafka_topics.TopicsWrong as problem:
        _answer(where, [], problem.problems, as_json)
    else:
        _answer(where, [], [], as_json)


@app.command(
    epilog=example(
        f"ledger {KAFKA} topics accept-loss 3 1200 1899 --reason 'disk of broker 2'",
        f"ledger {KAFKA} topics accept-loss 3 80 99 --topic verdicts --reason 'disk of broker 2'",
    )
)
def accept_loss(
    context: typer.Context,
    partition: Annotated[int, typer.Argument(help="The partition of the topic.", min=0)],
    first: Annotated[int, typer.Argument(help="The first offset that is lost.", min=0)],
    last: Annotated[int, typer.Argument(help="The last offset that is lost.", min=0)],
    reason: Annotated[str, typer.Option(help="Why; whoever replays the log reads it.")],
    topic: Annotated[
        Losing, typer.Option(help="The topic that lost them: events, verdicts, control, refused.")
    ] = Losing.EVENTS,
    by: Annotated[str, typer.Option(help="Who says so; your user name by default.")] = "",
) -> None:
    """Accept that records are lost, so that who stopped at the hole goes on behind it.

    A judge whose next events are gone stops their partition and names the range, and so does an
    archivist, of each topic that it archives: to skip it is a person's decision, because what
    happened in it was never judged, or is in no archive. It is written to the refused topic,
    where `ledger refused --reason range_lost` shows it. Nothing is deleted, and what is still
    there cannot be given up.
    """
    from ledger.log import kafka_refused
    from ledger.log.kafka_lost import Lost

    where = place(context).on_kafka()
    if first > last:
        raise typer.BadParameter(f"{first} to {last} is no range")
    _check_partition(where, topic.value, partition)
    loss = Lost(partition, first, last, reason=reason)
    who = by or getpass.getuser()
    asyncio.run(kafka_refused.accept_loss(where, topic.value, loss, by=who))
    name = where.topic(topic.value)
    say(f"{name} partition {partition}: {first} to {last} are accepted as lost")


def _check_partition(where: Place, short: str, partition: int) -> None:
    from ledger.topics import wanted

    topic = wanted(where.prefix, partitions=where.partitions)[short]
    if partition >= topic.partitions:
        raise typer.BadParameter(
            f"{topic.name} has the partitions 0 to {topic.partitions - 1}, not {partition}"
        )


def _answer(where: Place, created: list[str], differing: list[str], as_json: bool) -> None:
    from ledger.topics import wanted

    topics = wanted(where.prefix, replication=where.replication, partitions=where.partitions)
    if as_json:
        shown = {short: _shown(topic) for short, topic in topics.items()}
        answer = {"ok": not differing, "created": created, "differing": differing, "topics": shown}
        one_json(answer)
    else:
        for topic in topics.values():
            if topic.name in created:
                copies = plural(topic.replication, "replica")
                say(f"{topic.name}: created, {plural(topic.partitions, 'partition')}, {copies}")
        for line in differing:
            complain(line)
        say(f"{where.prefix}: {_summary(len(topics), len(created), len(differing))}")
    if differing:
        raise typer.Exit(1)


def _summary(topics: int, created: int, differing: int) -> str:
    made = f", {created} of them new" if created else ""
    if differing:
        return f"{plural(differing, 'difference')} from topics.toml"
    return f"{plural(topics, 'topic')} as they must be{made}"


def _shown(topic: Topic) -> dict[str, object]:
    return {
        "name": topic.name,
        "partitions": topic.partitions,
        "replication": topic.replication,
        "keep_ms": topic.keep_ms,
        "settings": dict(topic.settings),
    }
