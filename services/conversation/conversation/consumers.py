"""Events of other services that conversations answer."""

from chassis.messaging.events import Delivery
from conversation.application.answers import FinishAnswers
from conversation.domain import ids
from definable.agent.v1.events_pb2 import RunEnded


class StoreAnswerOfEndedRun:
    """Store the answer when its run has ended, also when nobody reads the stream."""

    name = "store_answer_of_ended_run"
    events = (RunEnded,)

    def __init__(self, finish: FinishAnswers) -> None:
        self._finish = finish

    async def handle(self, delivery: Delivery) -> None:
        event = delivery.message
        if isinstance(event, RunEnded) and event.message_id:
            await self._finish.of_delivery(delivery, ids.RUN.parse(event.run_id, field="run_id"))
