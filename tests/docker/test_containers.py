"""`docker/compose.yaml` and the Dockerfiles: the same services and ports, loopback only, all pinned."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
DOCKER = CHECKOUT / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILES = sorted(DOCKER.glob("*/Dockerfile"))
PINNED = re.compile(r"^[a-z0-9./-]+:v?\d+(\.\d+)+[a-z0-9.-]*$")


@pytest.mark.services
def test_yaml_lints() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "yamllint", "--strict", "-c", DOCKER / "yamllint.yaml", DOCKER],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_services_and_ports_are_those_of_the_native_way() -> None:
    published = [mapping for service in SERVICES.values() for mapping in service.get("ports", [])]
    defaults = dict(re.fullmatch(r"127\.0\.0\.1:\$\{(\w+):-(\d+)\}:\d+", mapping).groups() for mapping in published)  # type: ignore[union-attr]
    assert set(SERVICES) == {"mariadb", "tidb", "kafka", "moto", "bigquery", "airflow"}
    assert defaults == {
        "LAKEFERRY_MARIADB_PORT": "13306",
        "LAKEFERRY_TIDB_PORT": "14000",
        "LAKEFERRY_TIDB_STATUS_PORT": "14080",
        "LAKEFERRY_KAFKA_PORT": "19092",
        "LAKEFERRY_MOTO_PORT": "15000",
        "LAKEFERRY_BIGQUERY_PORT": "19050",
        "LAKEFERRY_BIGQUERY_GRPC_PORT": "19060",
    }


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "airflow"])
def test_services_are_pinned_and_checked(name: str) -> None:
    assert PINNED.match(SERVICES[name]["image"])
    assert SERVICES[name]["healthcheck"]["test"]
    assert "network_mode" not in SERVICES[name]
    assert "privileged" not in SERVICES[name]


def test_airflow_is_asked_for_and_pinned() -> None:
    assert SERVICES["airflow"]["profiles"] == ["airflow"]
    assert PINNED.match(SERVICES["airflow"]["image"])


@pytest.mark.parametrize("service", [name for name, service in SERVICES.items() if "build" in service])
def test_what_is_built_is_there(service: str) -> None:
    build = SERVICES[service]["build"]
    assert (DOCKER / build["context"] / build["dockerfile"]).is_file()


def test_versions_agree_with_the_pins() -> None:
    requirements = (CHECKOUT / "requirements.txt").read_text(encoding="utf-8")
    moto = re.search(r"^moto(?:\[\w+\])?==(\S+)", requirements, re.MULTILINE)
    emulator = re.search(r"^bqemulator==(\S+)", (DOCKER / "native/bigquery-requirements.txt").read_text(), re.MULTILINE)
    assert moto
    assert emulator
    assert SERVICES["moto"]["image"] == f"motoserver/moto:{moto[1]}"
    assert SERVICES["bigquery"]["image"].endswith(f":{emulator[1]}")


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_dockerfiles_are_pinned_and_not_root(dockerfile: Path) -> None:
    lines = dockerfile.read_text(encoding="utf-8").splitlines()
    images = [line.split()[1] for line in lines if line.startswith("FROM ")]
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert images
    assert all(PINNED.match(image) for image in images)
    assert users
    assert users[-1] != "root"
    assert not any("latest" in line for line in lines)
    assert all("--require-hashes" in line or "--no-deps" in line for line in lines if "pip install" in line)


@pytest.mark.parametrize(
    "dockerfile", [path for path in DOCKERFILES if path.parent.name != "bigquery"], ids=lambda path: path.parent.name
)
def test_dockerfiles_copy_what_is_there(dockerfile: Path) -> None:
    copies = [line.split()[1:-1] for line in dockerfile.read_text().splitlines() if line.startswith("COPY ")]
    paths = [path for copy in copies if not copy[0].startswith("--from") for path in copy]
    assert paths
    assert all((CHECKOUT / path).exists() for path in paths)
