"""Three tasks, one after the other."""

import shared
from airflow.sdk import dag, task


@dag(schedule=None, catchup=False, tags=["sample"], default_args={"owner": shared.TEAM})
def payments_settlement():
    @task
    def load():
        return [12, 30, 58]

    @task
    def settle(amounts):
        return shared.total(amounts)

    @task
    def report(total):
        print(f"{shared.TEAM} settled {total}")
        return {"team": shared.TEAM, "total": total}

    report(settle(load()))


payments_settlement()
