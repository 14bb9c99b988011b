"""Trino: a question is a statement, its answer are rows. After `python/asked.py`."""

import trino

connection = trino.dbapi.connect(host="127.0.0.1", port=int(sys.argv[1]), user="orch", catalog=sys.argv[2], timezone="UTC")


def causes(failure):
    """Its own words and those of what brought it about."""
    while failure:
        yield failure.get("message")
        failure = failure.get("cause")


def answer(asked):
    cursor = connection.cursor()
    try:
        cursor.execute(asked["sql"])
        return [[cell(value) for value in row] for row in cursor.fetchall()]
    except trino.exceptions.TrinoQueryError as error:
        raise RuntimeError(f"{error.error_name}: {list(causes(error.failure_info))}") from None


answer_all(answer)
