from datetime import datetime

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import chain, dag, task

WITHOUT_LIMITS = dict(
    schedule=None, start_date=datetime(2026, 1, 1), catchup=False, max_active_runs=1000, max_active_tasks=1000,
    is_paused_upon_creation=False,
)


def fib(number):
    return number if number < 2 else fib(number - 1) + fib(number - 2)


def noop():
    return None


def fib_10():
    fib(10)


def chain_of(name, length, body):
    @dag(dag_id=name, **WITHOUT_LIMITS)
    def described():
        tasks = [PythonOperator(task_id=f"step_{n:03d}", python_callable=body) for n in range(length)]
        if length > 1:
            chain(*tasks)

    return described()


light40 = chain_of("light40", 40, fib_10)
chain100 = chain_of("chain100", 100, noop)
run5 = chain_of("run5", 5, noop)
one = chain_of("one", 1, noop)


@dag(dag_id="fan1000", **WITHOUT_LIMITS)
def fan():
    @task
    def first():
        return list(range(1000))

    @task
    def each(number):
        return None

    @task
    def last():
        return None

    each.expand(number=first()) >> last()


fan1000 = fan()
