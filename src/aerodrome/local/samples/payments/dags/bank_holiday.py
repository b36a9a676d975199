"""A task that waits without holding a worker: Airflow's own deferrable sensor."""

from datetime import timedelta

import shared
from airflow.providers.standard.sensors.time_delta import WaitSensor
from airflow.sdk import dag


@dag(schedule=None, catchup=False, tags=["sample"], default_args={"owner": shared.TEAM})
def payments_wait_for_bank():
    WaitSensor(task_id="wait", time_to_wait=timedelta(seconds=2), deferrable=True)


payments_wait_for_bank()
