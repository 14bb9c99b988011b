"""The jobs; every run is one process."""

import os

from dagster import Definitions, DynamicOut, DynamicOutput, In, Nothing, Out, in_process_executor, job, op


def fib(number):
    return number if number < 2 else fib(number - 1) + fib(number - 2)


def chain_of(name, length, number=0):
    @op(name=f"{name}_first", out=Out(Nothing))
    def first():
        if number:
            fib(number)

    @op(name=f"{name}_next", ins={"before": In(Nothing)}, out=Out(Nothing))
    def following():
        if number:
            fib(number)

    @job(name=name, executor_def=in_process_executor)
    def described():
        last = first()
        for place in range(1, length):
            last = following.alias(f"{name}_{place:03d}")(last)

    return described


@op(out=DynamicOut(int))
def numbers():
    for number in range(1000):
        yield DynamicOutput(number, mapping_key=str(number))


@op
def each(number):
    return 0


@op
def last(numbers):
    return 0


@job(executor_def=in_process_executor)
def fan1000():
    last(numbers().map(each).collect())


jobs = [chain_of("light40", 40, 10), chain_of("chain100", 100), chain_of("run5", 5), chain_of("one", 1), fan1000]
idle = [chain_of(f"idle_{number:03d}", 5) for number in range(int(os.environ.get("IDLE_JOBS", "0")))]
defs = Definitions(jobs=jobs + idle)
