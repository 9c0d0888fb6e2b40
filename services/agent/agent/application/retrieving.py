"""Search steps: the passages that an answer may cite."""

from typing import Any

from agent.application.claimed_run import ClaimedRun
from agent.domain import journal
from agent.domain.definition import Retrieval
from agent.domain.passages import Hit, Passage
from agent.domain.ports import Knowledge
from agent.domain.steps import Step
from chassis.portable import portable_text

# The longest query that kb takes.
LONGEST_QUERY = 4000


async def search(
    knowledge: Knowledge, run: ClaimedRun, step: Step, *, query: str, retrieval: Retrieval
) -> list[Passage]:
    """Search the run's knowledge bases, number what was found, and announce it.

    Raises what kb raises.
    """
    wanted = query.strip()[:LONGEST_QUERY]
    found = knowledge.search(knowledge_base_ids=run.definition.knowledge_base_ids, query=wanted, retrieval=retrieval)
    hits = await run.guarded(found) if wanted else []
    passages = run.passages.add(hits)
    step.output["hits"] = [hit.as_json() for hit in hits]
    run.announce(
        journal.RETRIEVAL_COMPLETED, step, query=portable_text(wanted), hits=[_shown(passage) for passage in passages]
    )
    return passages


def _shown(passage: Passage) -> dict[str, Any]:
    hit: Hit = passage.hit
    return {"index": passage.index, **hit.as_json()}
