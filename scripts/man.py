"""Writes man pages from the references in `docs/`.

    python3 scripts/man.py MAN VERSION

`MAN` gets `man1/orch.1.gz`, one page for each command of `docs/commands.md` such as `man1/orch-dags.1.gz`, and
`man5/orch.toml.5.gz` from `docs/settings.md`.
"""

import gzip
import re
import sys
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"
SUMMARY = "workflow orchestrator on Postgres"
# A term, then its help behind at least two spaces. Help alone is indented further.
ENTRY = re.compile(r" {2,6}(\S.*?)(?: {2,}(\S.*))?")


def escape(text):
    """Returns text that roff prints unchanged."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


def prose(text):
    """Returns a paragraph with `code` in bold and the texts of links."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    parts = [escape(part) for part in text.split("`")]
    bold = [f"\\fB{part}\\fR" if index % 2 else part for index, part in enumerate(parts)]
    return "".join(bold)


def entries(lines):
    """Returns pairs of a term and its help."""
    found = []
    for line in lines:
        entry = ENTRY.fullmatch(line)
        if entry:
            found.append([entry[1], entry[2] or ""])
        else:
            found[-1][1] = f"{found[-1][1]} {line.strip()}".strip()
    return found


def heading(level, title):
    title = title.removesuffix(":")
    return f"{level} {title.upper() if level == '.SH' else title}"


def help_text(block, level):
    """Returns the roff of a help text: a summary, the usage, then groups with a title or paragraphs."""
    summary, _, rest = block.partition("\n\nUsage: ")
    usage, *groups = rest.split("\n\n")
    page = [prose(" ".join(summary.split())), ".PP", f"\\fB{escape(usage)}\\fR"]
    for group in groups:
        title, *lines = group.split("\n")
        if not lines or not title.endswith(":"):
            page += [".PP", prose(" ".join(group.split()))]
        elif title == "Examples:":
            page += [heading(level, title), ".nf", *(escape(line) for line in lines), ".fi"]
        else:
            page.append(heading(level, title))
            for term, text in entries(lines):
                page += [".TP", f"\\fB{escape(term)}\\fR", prose(text)]
    return page


def sections():
    """Returns (command, body) of each section of `docs/commands.md`."""
    text = (DOCS / "commands.md").read_text()
    parts = re.split(r"^#{2,3} (orch .*)\n", text, flags=re.MULTILINE)[1:]
    return [(name, body.strip().removeprefix("```text\n").removesuffix("\n```")) for name, body in zip(parts[::2], parts[1::2])]


def global_options():
    introduction = (DOCS / "commands.md").read_text().partition("\n## ")[0]
    return re.findall(r"`(--[a-z-]+)`", introduction)


def settings():
    """Returns (group, rows) of `docs/settings.md`. A row has the key, the variable, the default and the help."""
    groups = []
    for line in (DOCS / "settings.md").read_text().splitlines():
        if line.startswith("## "):
            groups.append((line[3:], []))
        elif line.startswith("| `"):
            cells = re.split(r"(?<!\\)\|", line)[1:-1]
            groups[-1][1].append([cell.strip().replace("\\|", "|") for cell in cells])
    return groups


class Manual:
    def __init__(self, folder, version):
        self.folder, self.version = folder, version

    def write(self, name, section, summary, body, see_also):
        path = self.folder / f"man{section}" / f"{name}.{section}.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        page = [f'.TH "{name.upper()}" {section} "" "orch {self.version}" "orch"', ".SH NAME", f"{escape(name)} \\- {prose(summary)}", *body]
        page += [".SH SEE ALSO", ", ".join(f"\\fB{escape(other)}\\fR({number})" for other, number in see_also)]
        page += [".PP", "The guides are in \\fIshare/doc/orch/docs\\fR beside the folder of this page."]
        # Without a time, so that the same sources make the same package.
        path.write_bytes(gzip.compress(("\n".join(page) + "\n").encode(), mtime=0))

    def command(self, name, own, inner):
        """The page of one command: its help, or that of its subcommands."""
        if inner:
            summary, body = own, [".SH COMMANDS"]
            for words, block in inner:
                body += [f'.SS "{escape(words)}"', *help_text(block, ".PP\n.B")]
        else:
            summary = " ".join(own.partition("\n\n")[0].split())
            body = [".SH DESCRIPTION", *help_text(own, ".SH")]
        self.write(name.replace(" ", "-"), 1, summary, body, [("orch", 1), ("orch.toml", 5)])
        return summary

    def overview(self, summaries):
        body = [".SH SYNOPSIS", "\\fBorch\\fR [\\fIOPTIONS\\fR] \\fICOMMAND\\fR", ".SH DESCRIPTION"]
        body.append(prose("`orch standalone` runs all roles and a private database. `orch COMMAND -h` prints the help of a command."))
        body.append(".SH COMMANDS")
        for name, summary in summaries:
            body += [".TP", f"\\fB{escape(name.replace(' ', '-'))}\\fR(1)", prose(summary)]
        body += [".SH OPTIONS", "Each command has these options. \\fBorch.toml\\fR(5) explains them.", ".PP"]
        body.append(", ".join(f"\\fB{escape(option)}\\fR" for option in global_options()))
        body += [".SH EXIT STATUS", "0: success. 1: what the command started or checked failed. 2: the command could not be carried out."]
        see_also = [(name.replace(" ", "-"), 1) for name, _ in summaries] + [("orch-pipelines", 1), ("orch.toml", 5)]
        self.write("orch", 1, SUMMARY, body, see_also)

    def pipelines(self):
        body = [".SH SYNOPSIS", "\\fBorch\\-pipelines worker\\fR [\\fIOPTIONS\\fR]", ".SH DESCRIPTION"]
        body.append(prose("A worker with the pipelines that orch ships. `orch standalone` starts it if it is in the folder of `orch`."))
        body.append(prose("It has the options and settings of `orch worker`. `orch-pipelines -h` lists its other commands."))
        self.write("orch-pipelines", 1, "the pipelines that orch ships, for orch", body, [("orch-worker", 1), ("orch.toml", 5)])

    def settings(self):
        body = [".SH DESCRIPTION"]
        body.append(prose(" ".join((DOCS / "settings.md").read_text().split("\n\n")[1].split())))
        for group, rows in settings():
            body.append(f".SH {escape(group.upper())}")
            for key, variable, default, text in rows:
                default = f" Default: {default}." if default else ""
                body += [".TP", f"\\fB{escape(key.strip('`'))}\\fR", prose(f"{text}.{default} Variable: {variable}.")]
        self.write("orch.toml", 5, "settings of orch", body, [("orch", 1)])


def main():
    manual = Manual(Path(sys.argv[1]), sys.argv[2])
    commands = {}
    for words, body in sections():
        name = " ".join(words.split()[:2])
        own, inner = commands.setdefault(name, (body, []))
        if words != name:
            inner.append((words, body))
    summaries = [(name, manual.command(name, own, inner)) for name, (own, inner) in commands.items()]
    manual.overview(summaries)
    manual.pipelines()
    manual.settings()


main()
