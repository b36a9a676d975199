"""A task that waits without holding a worker: a deferrable operator of the team's own."""

import shared
from airflow.sdk import dag
from pause import PauseOperator


@dag(schedule=None, catchup=False, tags=["sample"], default_args={"owner": shared.TEAM})
def search_wait_for_crawl():
    PauseOperator(task_id="wait", seconds=1)


search_wait_for_crawl()
