"""A trigger and an operator of the team's own, deferrable: the team's triggerer imports them from its repository."""

import asyncio

from airflow.sdk import BaseOperator
from airflow.triggers.base import BaseTrigger, TriggerEvent


class PauseTrigger(BaseTrigger):
    def __init__(self, seconds):
        super().__init__()
        self.seconds = seconds

    def serialize(self):
        return ("pause.PauseTrigger", {"seconds": self.seconds})

    async def run(self):
        await asyncio.sleep(self.seconds)
        yield TriggerEvent({"seconds": self.seconds})


class PauseOperator(BaseOperator):
    def __init__(self, *, seconds, **others):
        super().__init__(**others)
        self.seconds = seconds

    def execute(self, context):
        self.defer(trigger=PauseTrigger(self.seconds), method_name="resume")

    def resume(self, context, event):
        return event["seconds"]
