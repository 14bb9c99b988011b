"""Prometheus' own parser reads what a process tells; prints the name of each family."""

import json
import os
import sys
import urllib.request

from prometheus_client.parser import text_string_to_metric_families as families


def ask(url, headers=None, body=None):
    request = urllib.request.Request(url, headers=headers or {}, data=body and json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


url, headers = sys.argv[1], {}
if password := os.environ.get("ORCH_PASSWORD"):
    origin = url.removesuffix("/metrics")
    body = {"username": "admin", "password": password}
    _, token = ask(origin + "/auth/token", {"Content-Type": "application/json"}, body)
    headers["Authorization"] = "Bearer " + json.loads(token)["access_token"]
if token := os.environ.get("ORCH_METRICS_TOKEN"):
    headers["Authorization"] = "Bearer " + token
kind, text = ask(url, headers)
assert kind.startswith("text/plain; version=0.0.4"), kind
samples = set()
for family in families(text):
    assert family.documentation and family.type in ("gauge", "counter"), family
    for sample in family.samples:
        key = (sample.name, tuple(sorted(sample.labels.items())))
        assert key not in samples, f"{key} is there twice"
        samples.add(key)
    # The parser takes `_total` off the names of counters.
    print(family.name + ("_total" if family.type == "counter" else ""))
