"""Credentials in the words of a service: removed before a person, a log or a receipt sees them.

AWS quotes the request that it refuses. For InvalidSignatureException the message holds the canonical request with the
header `x-amz-security-token`, for IncompleteSignature the header Authorization; the C++ client of PyArrow and Google's
token service pass such messages on. A request that is signed in its URL has the same values as parameters
("Authenticating Requests (AWS Signature Version 4)" in the S3 API Reference).
"""

from __future__ import annotations

import re

REMOVED = "[removed]"
_EQUALS = r"""(?:\\*["']|\s|%22)*(?:[:=]|%3[AD]|\\u003d)(?:\\*["']|\s|%22|%20)*"""
_IN_JSON = r"""\\*["'](?:\\*["']|\s|,)*\\*["']?value""" + _EQUALS
_VALUE = r"[A-Za-z0-9+/=_.~%-]+"
_AWS = re.compile(
    r"(?i)(x-amz-(?:s3session-|security-)token|x-amz-credential|x-amz-signature|aws_?session_?token"
    r"|aws_?secret_?access_?key|aws_?access_?key_?id)"
    rf"({_EQUALS}|{_IN_JSON})({_VALUE})"
)
_AUTHORIZATION = re.compile(r"(?i)(?<![\w-])((?:credential|signature)=)[A-Za-z0-9+/=_%.-]{16,}")


def without_credentials(text: str) -> str:
    """The text with `[removed]` in place of tokens, keys and signatures of AWS requests."""
    if "amz-" not in (lower := text.lower()) and "aws" not in lower:
        return text
    text = _AWS.sub(rf"\1\2{REMOVED}", text)
    return _AUTHORIZATION.sub(rf"\1{REMOVED}", text)


def first_line(text: str) -> str:
    """The first line that is not empty, without credentials: what follows in a message of AWS is the request."""
    lines = (line.strip() for line in text.splitlines())
    return without_credentials(next((line for line in lines if line), ""))
