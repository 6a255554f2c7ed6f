"""Checks the prose of the project, in comments, docstrings and Markdown, and the names that Python defines.

See docs/contributing/style.md.

python .ci/prose.py [PATH …]    prints FILE:LINE and the rule; exit code 1 where there is one
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("connectors", "expectations", "jobs", "dags", "docker", "docs", "tests", ".ci", "README.md")
MOST_WORDS = 35
BANNED = {
    r"\btold\b|\btells\b": 'write "reports", "raises", "logs" or "shows"',
    r"\b(?:held|hold|holds) (?:\w+ ){0,4}against\b": 'write "compares … with"',
    r"\b(?:is|are|was|were) none\b": 'write "missing", "rejected" or "invalid", or "there is no …"',
    r"\banew\b": 'write "again" or "from scratch"',
    r"\b(?:is|are|was|were) (?:another|others) than\b": 'write "differs from" or "is not the … that"',
    r"\bsays? nothing without\b": 'write "has no effect without"',
    r"(?:\A|[.!?]\s+|\n\n)(?-i:Of) [a-z]+\b": "put the subject first",
    r"\bwhoever\b|\bwhatever\b": "name who or what",
    r"\bwhence\b|\bthereof\b|\bthere where\b": "use the plain word",
    # Code stands as X in what is searched.
    r"\b(?-i:as of) X\b": 'write "see `X`"',
    r"\b(?:one|two|once|twice|times|seconds|rows|bytes|requests) an? "
    r"(?:dataset|batch|run|stage|slice|file|rule|table|row|partition|task|pipeline|worker|server)\b": 'write "per"',
}
# A participle says that something was done, never what the thing is.
BANNED_IN_NAMES = frozenset(
    ("told", "tell", "tells", "made", "found", "left", "held", "given", "piece", "pieces", "each")
)
NAMED_FOLDERS = ("connectors", "expectations", "jobs", "dags", "docker")
"""The folders whose names are checked."""
_RULES = {re.compile(pattern, re.IGNORECASE): advice for pattern, advice in BANNED.items()}
_SENTENCE = re.compile(r"(?<=[.!?:;])\s+|\n\s*\n|\n\s*[-*]\s|\n\s*\|")
_NO_PROSE = re.compile(r"``.*?``|`[^`]*`|\"[^\"\n]*\"|https?://\S+|\[[^\]]*\]\([^)]*\)")


def main(arguments: list[str]) -> int:
    """Check the files below the paths, or all."""
    found = [line for path in _files(arguments) for line in findings(path)]
    for line in found:
        print(line)
    return 1 if found else 0


def findings(path: Path) -> Iterator[str]:
    """The findings of a file, as `FILE:LINE: text: advice`."""
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    if path.suffix == ".py" and any(path.is_relative_to(ROOT / folder) for folder in NAMED_FOLDERS):
        for line, name in defined_names(ast.parse(path.read_text(encoding="utf-8"))):
            for word in sorted(BANNED_IN_NAMES & set(name.lower().split("_"))):
                yield f"{shown}:{line}: {name!r}: {word!r} does not say what the thing is"
        for line, text in messages(path):
            for _, finding in _broken_rules(_NO_PROSE.sub("X", text)):
                yield f"{shown}:{line}: {finding}"
    for line, text in prose(path):
        plain = _NO_PROSE.sub("X", text)
        for place, finding in _broken_rules(plain):
            yield f"{shown}:{line + plain.count(chr(10), 0, place)}: {finding}"
        for sentence in _SENTENCE.split(plain):
            words = len(sentence.split())
            if words > MOST_WORDS:
                at = line + plain.count("\n", 0, plain.find(sentence))
                yield f"{shown}:{at}: a sentence of {words} words: at most {MOST_WORDS}"


def _broken_rules(plain: str) -> Iterator[tuple[int, str]]:
    for rule, advice in _RULES.items():
        for match in rule.finditer(plain):
            yield match.start(), f"{match[0]!r}: {advice}"


def messages(path: Path) -> Iterator[tuple[int, str]]:
    """The strings of a module that have blanks, without docstrings, and the line of each: errors and the like. X stands
    for what is inserted."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in ast.walk(node)} - {id(node)}
    for node in ast.walk(tree):
        text = None
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        if text is not None and " " in text and id(node) not in skipped:
            yield node.lineno, text


def defined_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The functions, classes, arguments, variables and attributes that a module defines, and the line of each."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.lineno, node.name
            case ast.arg():
                yield node.lineno, node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.lineno, node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.lineno, node.attr


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """The prose of a file by blocks, and the line of each: docstrings and comments, or Markdown without code."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        yield from _markdown(text)
        return
    for node in ast.walk(ast.parse(text)):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else []:
            # Constants have strings behind them, too.
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                yield statement.lineno, str(statement.value.value)
    block: list[str] = []
    first = last = -1
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        words = token.string.lstrip("#! ")
        if token.start[0] == last + 1:
            block.append(words)
        else:
            if block:
                yield first, "\n".join(block)
            block, first = [words], token.start[0]
        last = token.start[0]
    if block:
        yield first, "\n".join(block)


def _markdown(text: str) -> Iterator[tuple[int, str]]:
    fenced, block, first = False, [], 1
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
            continue
        if fenced or not line.strip() or line.startswith("|"):
            if block:
                yield first, "\n".join(block)
            block = []
            if line.startswith("|") and not fenced:
                yield number, "\n\n".join(line.split("|"))
            continue
        if not block:
            first = number
        block.append(line)
    if block:
        yield first, "\n".join(block)


def _files(arguments: list[str]) -> list[Path]:
    roots = [Path(argument).resolve() for argument in arguments] or [ROOT / folder for folder in FOLDERS]
    files = [path for root in roots for path in ([root] if root.is_file() else sorted(root.rglob("*")))]
    return [path for path in files if path.suffix in (".py", ".md") and ".venv" not in path.parts]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
