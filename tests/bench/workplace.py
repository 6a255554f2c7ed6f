"""What all parts share: the server, where things are put, the other tools, and how quiet is made between measures."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.bench.lake_runs import Lake, Limits
from tests.bench.peers import Peers
from tests.bench.server import Server


@dataclass(frozen=True)
class Workplace:
    """`folder` is temporary, `logs` stays; `times` is how often each measure is taken."""

    server: Server
    peers: Peers
    folder: Path
    logs: Path
    limits: Limits
    times: int

    def lake(self, name: str) -> Lake:
        """A new lake; an older one of that name is removed."""
        self.remove(name)
        return Lake(self.folder / name, self.logs, self.limits)

    def remove(self, name: str) -> None:
        shutil.rmtree(self.folder / name, ignore_errors=True)

    def quiet(self) -> None:
        """Let the last one's writes reach the disk, and the server finish what it does by itself."""
        os.sync()
        self.server.rest()
