"""The flows, served by one process."""

import os

from prefect import flow, serve, task
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import ThreadPoolTaskRunner


def fib(number):
    return number if number < 2 else fib(number - 1) + fib(number - 2)


@task(cache_policy=NO_CACHE, persist_result=False)
def light(number=0):
    if number:
        fib(number)


@flow
def light40():
    for _ in range(40):
        light(10)


@flow
def chain100():
    for _ in range(100):
        light()


@flow
def run5():
    for _ in range(5):
        light()


@flow
def one():
    light()


@flow(task_runner=ThreadPoolTaskRunner(max_workers=32))
def fan1000():
    light()
    for future in light.map([0] * 1000):
        future.wait()
    light()


if __name__ == "__main__":
    idle = int(os.environ["IDLE_DEPLOYMENTS"])
    flows = [light40, chain100, run5, one, fan1000]
    served = [one.to_deployment(f"idle_{n:03d}") for n in range(idle)] or [each.to_deployment("bench") for each in flows]
    serve(*served, limit=8)
