from airflow.sdk import dag, task
from lib.greetings import greeting


@dag(schedule=None, catchup=False, tags=["starter"], default_args={"owner": "starter"})
def hello():
    @task
    def who():
        return "world"

    @task
    def say(name):
        print(greeting(name))

    say(who())


hello()
