"""Credentials in the words of a service: removed before a person, a log or a receipt sees them.

AWS quotes the request that it refuses. For InvalidSignatureException the message holds the canonical request with the
header `x-amz-security-token`, for IncompleteSignature the header Authorization; the C++ client of PyArrow and Google's
token service pass such messages on. A request that is signed in its URL has the same values as parameters
("Authenticating Requests (AWS Signature Version 4)" in the S3 API Reference).
"""

from __future__ import annotations

import re

REMOVED = "[removed]"
_NAMES = "|".join(
    (
        "x-amz-(?:s3session-|security-)token",
        "x-amz-credential",
        "x-amz-signature",
        # Variables, configuration of the CLI, and properties of the Java SDK.
        r"aws[._]?(?:secret[._]?access[._]?key|session[._]?token|access[._]?key[._]?id)",
        # Properties of Hadoop's S3A.
        r"fs[.]s3a[.](?:bucket[.][a-z0-9.-]{3,63}[.])?(?:secret[.]key|access[.]key|session[.]token)",
        # Properties of PyIceberg, and of version 1 of the Java SDK.
        "s3[.](?:secret-access-key|session-token|access-key-id)",
        "aws[.]secretkey",
        # Fields of an answer of STS, in XML and JSON.
        r"(?<![A-Za-z0-9_])(?:secretaccesskey|sessiontoken|accesskeyid)",
    )
)
_QUOTE = r"""\\*["']"""
_AROUND = rf"(?:{_QUOTE}|\s|[+]|%2[027]|&quot;|&#39;)*"
_EQUALS = rf"{_AROUND}(?:[:=>]|%3[ADE]|\\u003d|&gt;){_AROUND}(?:[\[(]{_AROUND})?(?:b{_QUOTE})?"
_IN_JSON = rf"{_QUOTE}(?:{_QUOTE}|\s|,)*{_QUOTE}?value{_EQUALS}"
_IN_PAIR = rf"(?:{_QUOTE})?\s*,\s*(?:b)?(?:{_QUOTE})?"
"""Between a name and its value in `('name', 'value')`."""
_VALUE = r"""(?:[^\s"'`,;&<>(){}\[\]|\\]|\\/)+"""
_AWS = re.compile(rf"(?i)({_NAMES})({_EQUALS}|{_IN_JSON}|{_IN_PAIR})({_VALUE})")
_AUTHORIZATION = re.compile(r"(?i)(?<![\w-])((?:credential|signature)=)[A-Za-z0-9+/=_%.-]{16,}")
_BEARER = re.compile(r"(?i)(\bbearer )[A-Za-z0-9._~+/=-]{16,}")
_WORDS = frozenset(
    [
        "absent",
        "empty",
        "expired",
        "invalid",
        "is",
        "missing",
        "no",
        "none",
        "not",
        "null",
        "required",
        "set",
        "undefined",
        "unset",
        "was",
    ]
)
"""What follows a name that has no value: "AWS_SESSION_TOKEN: not set"."""
_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]*")
_HINTS = ("amz-", "aws", "fs.s3a.", "s3.", "accesskey", "sessiontoken", "credential=", "signature=", "bearer ")


def without_credentials(text: str) -> str:
    """The text with `[removed]` in place of tokens, keys and signatures of AWS requests.

    Cost: linear in the text. A part that repeats is followed by something it cannot match, or takes one step back.
    """
    lower = text.lower()
    if not any(hint in lower for hint in _HINTS):
        return text
    text = _AWS.sub(_replaced, text)
    return _BEARER.sub(rf"\1{REMOVED}", _AUTHORIZATION.sub(rf"\1{REMOVED}", text))


def _replaced(match: re.Match[str]) -> str:
    # In a list of columns the next name is no value.
    is_listed = "," in match[2] and "value" not in match[2].lower() and _IDENTIFIER.fullmatch(match[3])
    return match[0] if is_listed or match[3].lower().rstrip(".") in _WORDS else f"{match[1]}{match[2]}{REMOVED}"


def first_line(text: str) -> str:
    """The first line that is not empty, without credentials: what follows in a message of AWS is the request."""
    lines = (line.strip() for line in text.splitlines())
    return without_credentials(next((line for line in lines if line), ""))
