import itertools

MOST_ROWS = 1000


def statements(text):
    """Split at `;`, but not in quotes and comments."""
    found, begin, at, quote = [], 0, 0, None
    while at < len(text):
        two = text[at : at + 2]
        if quote:
            if text[at] == "\\":
                at += 1
            elif text.startswith(quote, at):
                at += len(quote) - 1
                quote = None
        elif text[at] in "'\"`":
            quote = text[at]
        elif two in ("--", "/*"):
            quote = "\n" if two == "--" else "*/"
        elif text[at] == ";":
            found.append(text[begin:at])
            begin = at + 1
        at += 1
    found.append(text[begin:])
    return [one for one in found if one.strip()]


rows = []
for statement in statements(conf("spark.orch.statements")):
    answer = spark.sql(statement)
    rows = list(itertools.islice(answer.toLocalIterator(), MOST_ROWS)) if answer.columns else []
print(json.dumps([row.asDict(recursive=True) for row in rows], default=str))
spark.stop()
