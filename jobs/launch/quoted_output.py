"""The output of a Spark job as errors quote it: classes of exceptions and where they came from, no value of a row.

What an exception says may hold a value of the row it failed at: `NumberFormatException: For input string: "…"`. It
follows the name of the class and may go on over several lines. Traces of Java (`Throwable.printStackTrace`) and of
Python (`traceback`) have lines of a form of their own behind it, and so have lines of Spark's log.
"""

from __future__ import annotations

import re

from jobs.launch.output_lines import output_lines

_NAME = r"[A-Za-z_$][\w$]*"
_KINDS = r"(?:Error|Exception|Failure|Exit|Interrupt|Iteration|Fault|Throwable|Warning)"
_CLASS = re.compile(
    rf"(?<![\w$.])(?:(?:{_NAME}\.)*{_NAME}{_KINDS}|(?:{_NAME}\.)+{_KINDS}|{_KINDS}(?=[:(]))(?![\w$])"
    r"(?:: (?P<condition>\[[A-Z][A-Z0-9_.]*\]))?"
)
_NO_EXCEPTION = ("Error", "Failure", "Exit", "Interrupt", "Iteration", "Fault", "Warning")
"""Words that stand alone in messages of spark-submit (`Error: Missing application resource.`)."""
_CAUSE = re.compile(rf"^((?:Caused by|Suppressed): (?:{_NAME}\.)*{_NAME}|(?:{_NAME}\.)+[A-Z][\w$]*)(?=:|$).*")
"""An exception whose name does not say that it is one (`google.api_core.exceptions.NotFound`)."""
_FRAME = re.compile(
    r'at [\w.$/<>@-]+\([^()]*\)(?: ~?\[[^\]]*\])?|\.\.\. \d+ (?:more|common frames omitted)|File ".*", line \d+.*'
)
_LOG_LINE = re.compile(r"(?:\d{2,4}[/-]\d\d[/-]\d\d[ T]\d\d:\d\d:\d\d\S* |\[?(?:TRACE|DEBUG|INFO|WARN|ERROR|FATAL)\b)")
_TRACEBACK = "Traceback (most recent call last)"


def without_messages(line: str) -> str:
    """A line up to the first class of an exception, followed by the others in it and by Spark's error conditions."""
    line = line.strip()
    if _FRAME.fullmatch(line):
        return line
    cause = _CAUSE.match(line)
    classes = [match for match in _CLASS.finditer(line) if match[0] not in _NO_EXCEPTION]
    if cause and (not classes or classes[0].start() > cause.end(1)):
        return ": ".join([cause[1], *dict.fromkeys(match[0] for match in classes)])
    if not classes:
        return line
    return line[: classes[0].start()] + ": ".join(dict.fromkeys(match[0] for match in classes))


def last_lines(output: str, count: int = 5) -> list[str]:
    """The last lines of a process's output that are not empty, without what exceptions say."""
    lines: list[str] = []
    in_message = in_traceback = False
    for whole in output_lines(output):
        line = whole.strip()
        if not line:
            continue
        kept = without_messages(line)
        if _FRAME.fullmatch(line):
            in_message = False
        elif _TRACEBACK in line:
            in_message, in_traceback = False, True
        elif in_traceback and not whole[0].isspace() and line[0] not in "|+":
            # The end of a traceback of Python: the class, under any name, and its message.
            name = re.match(rf"(?:{_NAME}\.)*{_NAME}", line)
            in_traceback, in_message = False, True
            kept = name[0] if name and kept == line else kept
        elif kept != line or _CLASS.fullmatch(line) or _CAUSE.match(line):
            in_message = True
        elif _LOG_LINE.match(line):
            in_message = in_traceback = False
        elif in_message:
            continue
        lines.append(kept)
    return lines[-count:]
