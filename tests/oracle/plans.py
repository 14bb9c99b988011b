"""Random DAGs as plain data, drawn from a `random.Random` and nothing else.

A plan's `needs` are the edges its author writes; `setups` are those a teardown names. Tasks stand in an order in which
every edge points forward, and the tasks of a group stand next to each other.
"""

from __future__ import annotations

from random import Random

RULES = (
    "all_success all_failed all_done all_done_min_one_success all_done_setup_success one_success one_failed one_done "
    "none_failed none_skipped always none_failed_min_one_success all_skipped"
).split()
INDEXES = (-1, 0, 1, 2, 3)
ORDER_BOUND = 60
# More than any of these DAGs has instances.
ORDER_LENGTH = 64
CLEAR_ORDER_LENGTH = 128


def run_plan(rng: Random) -> dict:
    """A DAG with any of mapped tasks, mapped groups, setups and teardowns."""
    tasks = [{"number": n} for n in range(rng.randint(3, 12))]
    groups: list[dict] = []
    if rng.random() < 0.3:
        _place_groups(rng, tasks, groups)
    if rng.random() < 0.25:
        _place_setups(rng, tasks)
    _name(tasks)
    with_maps = rng.random() < 0.3
    for at, task in enumerate(tasks):
        _map_groups_before(rng, tasks, groups, at)
        if with_maps and not _mapped_group(task, groups) and rng.random() < 0.35:
            task["map"] = _draw_map(rng, tasks[:at], groups)
        _wire(rng, tasks, at)
    _draw_rules(rng, tasks, groups)
    return _finish(rng, tasks, groups)


def clear_plan(rng: Random) -> dict:
    """A DAG with mapped groups, setups and teardowns, and outcomes for a second play of its run."""
    tasks = [{"number": n} for n in range(rng.randint(4, 10))]
    groups: list[dict] = []
    kind = rng.random()
    if kind < 0.8:
        _place_groups(rng, tasks, groups)
    if kind > 0.45:
        _place_setups(rng, tasks)
    _name(tasks)
    for at, task in enumerate(tasks):
        _map_groups_before(rng, tasks, groups, at)
        if not _mapped_group(task, groups) and rng.random() < 0.25:
            task["map"] = _draw_map(rng, tasks[:at], groups)
        _wire(rng, tasks, at)
    _draw_rules(rng, tasks, groups)
    plan = _finish(rng, tasks, groups)
    plan["order"] = [rng.randrange(ORDER_BOUND) for _ in range(CLEAR_ORDER_LENGTH)]
    plan["again"] = _finish(rng, tasks, groups)["outcomes"] if rng.random() < 0.5 else {}
    return plan


def skip_plan(rng: Random, kind: str) -> dict:
    """A DAG with one or two tasks that choose: `branch` or `short_circuit`."""
    tasks = [{"number": n} for n in range(rng.randint(4, 10))]
    groups: list[dict] = []
    choosers = {rng.randrange(2)}
    if rng.random() < 0.25:
        choosers.add(rng.randrange(2, len(tasks) - 1))
    in_group = rng.random() < 0.12
    if in_group:
        groups.append({"id": "g1"})
        for task in tasks[: rng.randint(3, len(tasks) - 1)]:
            task["group"] = "g1"
    _name(tasks)
    with_maps = rng.random() < 0.35
    for at, task in enumerate(tasks):
        _map_groups_before(rng, tasks, groups, at)
        if at in choosers:
            task["kind"] = kind
            if kind == "short_circuit":
                task["ignore_downstream_trigger_rules"] = rng.random() < 0.5
        elif with_maps and not _mapped_group(task, groups) and rng.random() < 0.3:
            sources = [t for t in tasks[:at] if not t.get("kind")]
            task["map"] = _draw_map(rng, sources, groups)
        _wire(rng, tasks, at)
        chooser = [tasks[c]["id"] for c in choosers if c < at]
        if chooser and rng.random() < 0.5:
            task["needs"] = sorted({*task["needs"], rng.choice(chooser)})
    for chooser in choosers:
        # A choice needs something to choose from.
        for task in tasks[chooser + 1 : chooser + 3]:
            task["needs"] = sorted({*task["needs"], tasks[chooser]["id"]})
    _draw_rules(rng, tasks, groups)
    plan = _finish(rng, tasks, groups)
    for task in plan["tasks"]:
        if task.get("kind"):
            _script_choice(rng, plan, task)
    return plan


def _place_groups(rng: Random, tasks: list[dict], groups: list[dict]) -> None:
    at = rng.randint(0, 2)
    for number in range(1, 3 if rng.random() < 0.25 else 2):
        size = rng.randint(1, 3)
        if at + size > len(tasks):
            return
        group_id = f"g{number}"
        if rng.random() < 0.1:
            groups.append({"id": f"p{number}"})
            group_id = f"p{number}.{group_id}"
        groups.append({"id": group_id})
        for task in tasks[at : at + size]:
            task["group"] = group_id
        if size > 1 and rng.random() < 0.2:
            groups.append({"id": f"{group_id}.s"})
            tasks[at + size - 1]["group"] = f"{group_id}.s"
        at += size + rng.randint(0, 2)


def _place_setups(rng: Random, tasks: list[dict]) -> None:
    half = (len(tasks) + 1) // 2
    for task in rng.sample(tasks[:half], rng.randint(1, min(2, half))):
        task["role"] = "setup"
    late = [t for t in tasks[half:] if "role" not in t]
    for task in rng.sample(late, min(rng.randint(1, 2), len(late))):
        task["role"] = "teardown"
        task["on_failure_fail_run"] = rng.random() < 0.35


def _name(tasks: list[dict]) -> None:
    for task in tasks:
        name = f"t{task.pop('number'):02}"
        task["id"] = f"{task['group']}.{name}" if task.get("group") else name


def _is_mapped_group(group: dict) -> bool:
    return group["id"].rsplit(".", 1)[-1].startswith("g")


def _mapped_group(task: dict, groups: list[dict]) -> dict | None:
    path = task.get("group") or ""
    return next((g for g in groups if _is_mapped_group(g) and f"{path}.".startswith(f"{g['id']}.")), None)


def _map_groups_before(rng: Random, tasks: list[dict], groups: list[dict], at: int) -> None:
    group = _mapped_group(tasks[at], groups)
    if group is not None:
        if "map" not in group:
            group["map"] = _draw_map(rng, tasks[:at], groups)
        tasks[at]["uses_element"] = rng.random() < 0.4


def _draw_map(rng: Random, earlier: list[dict], groups: list[dict]) -> dict:
    # Airflow cannot map over a task inside a mapped group: it never finds a length.
    sources = [t for t in earlier if not _mapped_group(t, groups) and t.get("role") != "teardown"]
    plain = [t for t in sources if "map" not in t]
    mapped = [t for t in sources if "map" in t]
    if mapped and rng.random() < 0.2:
        return {"over": rng.choice(mapped)["id"]}
    if plain and rng.random() < 0.7:
        source = rng.choice(plain[-4:])
        source.setdefault("list_len", _draw_length(rng))
        return {"over": source["id"]}
    return {"literal": _draw_length(rng)}


def _draw_length(rng: Random) -> int:
    return rng.choices((0, 1, 2, 3, 4), (12, 18, 32, 25, 13))[0]


def _wire(rng: Random, tasks: list[dict], at: int) -> None:
    task, earlier = tasks[at], tasks[:at]
    role = task.get("role")
    # Work may follow a teardown, but mostly does not.
    choices = [t for t in earlier if t.get("role") != "teardown" or rng.random() < 0.25]
    count = rng.choices((0, 1, 2, 3), (60, 30, 10, 0) if role == "setup" else (12, 45, 28, 15))[0]
    inner = [t for t in choices if task.get("group") and t.get("group") == task["group"]]
    picked: dict[str, None] = {}
    for _ in range(min(count, len(choices))):
        pool = inner if inner and rng.random() < 0.55 else choices[-5:] if rng.random() < 0.7 else choices
        picked[rng.choice(pool)["id"]] = None
    setups = [t["id"] for t in earlier if t.get("role") == "setup"]
    if role == "teardown":
        task["setups"] = sorted(s for s in setups if rng.random() < 0.8)
    elif role is None:
        picked.update((s, None) for s in setups if rng.random() < 0.3)
    task["needs"] = sorted(picked)


def _draw_rules(rng: Random, tasks: list[dict], groups: list[dict]) -> None:
    setups = {t["id"] for t in tasks if t.get("role") == "setup"}
    mostly_plain = rng.random() < 0.2
    for task in tasks:
        others = [r for r in RULES[1:] if r != "always" or not ("map" in task or _mapped_group(task, groups))]
        rule = "all_success" if rng.random() < (0.9 if mostly_plain else 0.45) else rng.choice(others)
        group = _mapped_group(task, groups)
        sources = {m["over"] for m in (task.get("map"), group and group["map"]) if m and "over" in m}
        if setups & {*task["needs"], *sources}:
            rule = "all_success"  # Airflow refuses others right behind a setup.
        task["rule"] = "all_done_setup_success" if task.get("role") == "teardown" else rule


def _finish(rng: Random, tasks: list[dict], groups: list[dict]) -> dict:
    failed, skipped = rng.choice(((0.0, 0.0), (0.15, 0.1), (0.15, 0.1), (0.25, 0.05), (0.1, 0.25), (0.3, 0.2)))
    outcomes = {}
    for task in tasks:
        for index in INDEXES:
            draw = rng.random()
            if draw < failed + skipped:
                outcomes[f"{task['id']}[{index}]"] = "failed" if draw < failed else "skipped"
    order = [rng.randrange(ORDER_BOUND) for _ in range(ORDER_LENGTH)]
    return {"tasks": tasks, "groups": groups, "outcomes": outcomes, "order": order}


def _script_choice(rng: Random, plan: dict, chooser: dict) -> None:
    children = [t["id"] for t in plan["tasks"] if chooser["id"] in t["needs"]]
    later = [t["id"] for t in plan["tasks"][plan["tasks"].index(chooser) + 1 :]]
    for index in INDEXES:
        name = f"{chooser['id']}[{index}]"
        if rng.random() < 0.05:
            continue  # Fails, is skipped or follows everything, as drawn before.
        if chooser["kind"] == "short_circuit":
            plan["outcomes"][name] = {"short_circuit": rng.random() < 0.2}
        else:
            draw = rng.random()
            count = 0 if draw < 0.12 else 1 if draw < 0.7 else 2
            pool = children if rng.random() < 0.8 else later
            plan["outcomes"][name] = {"branch": sorted(rng.sample(pool, min(count, len(pool))))}
