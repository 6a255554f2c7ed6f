"""A file that people wrote (a suite, a view's SQL), as it was when a run was planned."""

from __future__ import annotations

import hashlib
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator


class FrozenFile(BaseModel):
    """The name and text of a file. `sha256` is that of the text in UTF-8: it shows whether two runs had the same."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    text: str
    sha256: str

    @classmethod
    def of(cls, name: str, text: str) -> Self:
        return cls(name=name, text=text, sha256=_sha256(text))

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if _sha256(self.text) != self.sha256:
            raise ValueError(f"the text of {self.name} is not the one that was frozen: its SHA-256 differs")
        return self


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
