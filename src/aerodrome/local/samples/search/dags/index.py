"""One task for each document, then one that takes their results."""

import shared
from airflow.sdk import dag, task

DOCUMENTS = ["the quick brown fox", "jumps over the lazy dog"]


@dag(schedule=None, catchup=False, tags=["sample"], default_args={"owner": shared.TEAM})
def search_index():
    @task
    def split(document):
        return shared.words(document)

    @task
    def report(words):
        found = sorted({word for part in words for word in part})
        print(f"{shared.TEAM} found {len(found)} words")
        return {"team": shared.TEAM, "words": len(found)}

    report(split.expand(document=DOCUMENTS))


search_index()
