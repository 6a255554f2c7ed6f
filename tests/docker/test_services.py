"""`docker/native/services.py` as a user runs it: up, again up, down, and what may be in its way."""

from __future__ import annotations

import json
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pymysql
import pytest
import requests
from local_services import CHECKOUT, PORTS

from connectors.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local_services import Place

pytestmark = pytest.mark.services


def connect(place: Place, connection_id: str) -> pymysql.connections.Connection[pymysql.cursors.Cursor]:
    found = Connection.parse(connection_id, place.settings()[f"AIRFLOW_CONN_{connection_id.upper()}"])
    return pymysql.connect(host=found.host, port=found.port or 0, user=found.login, password=found.password or "")


def listening_addresses(pid: int) -> set[str]:
    """Addresses the process listens on, in the hex of /proc/net."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        target = str(entry.readlink())
        if target.startswith("socket:["):
            inodes.add(target.removeprefix("socket:[").removesuffix("]"))
    lines = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return {fields[1].split(":")[0] for fields in lines if fields[3] == "0A" and fields[9] in inodes}


def is_running(pid: int) -> bool:
    """Whether the process runs; one that ended and waits to be reaped (Z) does not."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process of somebody else's."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def test_up_again_changes_nothing(running: Place) -> None:
    settings = running.state / "settings.env"
    pids = {service: running.pid(service) for service in PORTS}
    before = (pids, settings.read_bytes(), settings.stat().st_mtime_ns)

    done = running.services("up")

    assert done.returncode == 0
    assert "already up" in done.stdout
    assert (
        {service: running.pid(service) for service in PORTS},
        settings.read_bytes(),
        settings.stat().st_mtime_ns,
    ) == (before)


def test_every_service_listens_on_loopback_only(running: Place) -> None:
    loopback = {"0100007F", "0000000000000000FFFF00000100007F"}
    for service in PORTS:
        addresses = listening_addresses(running.pid(service))
        assert addresses, service
        assert addresses <= loopback, service


def test_secrets_are_in_private_files_only(running: Place) -> None:
    secrets = json.loads((running.state / "passwords.json").read_text()).values()
    for name in ("settings.env", "passwords.json"):
        assert (running.state / name).stat().st_mode & 0o777 == 0o600
    said = running.services("up").stdout + running.services("status").stdout
    written = [path.read_text(errors="replace") for path in running.state.glob("*/log.txt")]
    written += [path.read_text(errors="replace") for path in running.state.glob("logs/*.txt")]
    command_lines = [Path(f"/proc/{running.pid(service)}/cmdline").read_text() for service in PORTS]
    for secret in secrets:
        assert not any(secret in text for text in (said, *written, *command_lines))


@pytest.mark.parametrize("connection_id", ["aurora_payments", "tidb_wallet"])
def test_databases_speak_utc_and_utf8mb4(running: Place, connection_id: str) -> None:
    with connect(running, connection_id) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT @@time_zone, TIMESTAMPDIFF(MINUTE, UTC_TIMESTAMP(), NOW()), @@character_set_server")
        assert cursor.fetchone() == ("+00:00", 0, "utf8mb4")


def test_tidb_reads_the_past(running: Place) -> None:
    with connect(running, "tidb_wallet") as connection, connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE history")
        cursor.execute("CREATE TABLE history.t (id INT PRIMARY KEY)")
        cursor.execute("INSERT INTO history.t VALUES (1)")
        connection.commit()
        cursor.execute("BEGIN")
        cursor.execute("SELECT @@tidb_current_ts")
        moment = cursor.fetchall()[0][0]
        connection.rollback()
        cursor.execute("DELETE FROM history.t")
        connection.commit()
        cursor.execute(f"SET @@tidb_snapshot = '{moment}'")
        cursor.execute("SELECT COUNT(*) FROM history.t")
        assert cursor.fetchone() == (1,)
        cursor.execute("SET @@tidb_snapshot = ''")
        cursor.execute("DROP DATABASE history")


def test_a_new_mariadb_leaves_the_temporary_tables_of_others_alone(
    anothers_temporary_table: Path, running: Place
) -> None:
    with connect(running, "aurora_payments") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT @@tmpdir")
        assert cursor.fetchone() == (str(running.state / "mariadb" / "tmp"),)
    assert anothers_temporary_table.exists()


def test_buckets_and_warehouse_are_there(running: Place) -> None:
    settings = running.settings()
    client = boto3.client(
        "s3",
        endpoint_url=settings["AWS_ENDPOINT_URL_S3"],
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    assert {bucket["Name"] for bucket in client.list_buckets()["Buckets"]} == {"lakeferry-lake", "landing"}
    project = f"{settings['LAKEFERRY_WAREHOUSE_ENDPOINT']}/bigquery/v2/projects/lakeferry-local"
    assert requests.get(f"{project}/datasets", timeout=10).status_code == 200


def test_who_reads_a_table_beside_a_query_gets_that_tables_rows(running: Place) -> None:
    project = f"{running.settings()['LAKEFERRY_WAREHOUSE_ENDPOINT']}/bigquery/v2/projects/lakeferry-local"

    def query(sql: str) -> Any:
        answer = requests.post(f"{project}/queries", json={"query": sql, "useLegacySql": False}, timeout=60)
        answer.raise_for_status()
        return answer.json()

    def read(_: int) -> Any:
        return requests.get(f"{project}/datasets/beside/tables/t/data", timeout=60).json().get("rows")

    def ask(number: int) -> Any:
        return query(f"SELECT {number} AS asked").get("rows")

    requests.post(f"{project}/datasets", json={"datasetReference": {"datasetId": "beside"}}, timeout=60)
    query("CREATE TABLE beside.t AS SELECT 'a' AS x, 'b' AS y")
    with ThreadPoolExecutor(8) as pool:
        both = [(number, pool.submit(ask, number), pool.submit(read, number)) for number in range(200)]

    for number, asked, seen in both:
        assert asked.result() == [{"f": [{"v": str(number)}]}]
        assert seen.result() == [{"f": [{"v": "a"}, {"v": "b"}]}]


def test_a_taken_port_is_named_with_its_variable(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        place.ports["LAKEFERRY_MARIADB_PORT"] = number

        done = place.services("up", "mariadb")

    assert done.returncode == 2
    assert f"Port {number}, meant for MariaDB, is taken by process" in done.stderr
    assert "LAKEFERRY_MARIADB_PORT=" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (place.state / "mariadb" / "pid.json").exists()


def test_all_taken_ports_are_said_before_anything_is_stopped(running: Place) -> None:
    pid = running.pid("mariadb")
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        numbers = one.getsockname()[1], other.getsockname()[1]
        moved = {"LAKEFERRY_MARIADB_PORT": numbers[0], "LAKEFERRY_MOTO_PORT": numbers[1]}
        done = replace(running, ports=running.ports | moved).services("up")
    assert done.returncode == 2
    assert all(f"Port {number}, meant for" in done.stderr for number in numbers)
    assert running.pid("mariadb") == pid
    assert is_running(pid)


def test_ports_are_remembered(running: Place) -> None:
    """A new terminal, where nobody has set the variables."""
    done = replace(running, ports={}).services("up")
    assert done.returncode == 0, done.stderr
    assert "already up" in done.stdout


@pytest.mark.parametrize(
    ("value", "said"),
    [("none", "LAKEFERRY_KAFKA_PORT=none is not a port"), ("80", "LAKEFERRY_KAFKA_PORT=80 is not a port")],
)
def test_a_port_that_is_none_is_refused(place: Place, value: str, said: str) -> None:
    done = subprocess.run(
        ["python3", "docker/native/services.py", "up"],
        capture_output=True,
        text=True,
        env={**place.environment(), "LAKEFERRY_KAFKA_PORT": value},
        check=False,
    )
    assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (2, True, False)


def test_two_services_cannot_share_a_port(place: Place) -> None:
    place.ports["LAKEFERRY_TIDB_PORT"] = place.ports["LAKEFERRY_MARIADB_PORT"]
    done = place.services("up")
    assert done.returncode == 2
    assert "LAKEFERRY_TIDB_PORT and LAKEFERRY_MARIADB_PORT are both" in done.stderr


def test_no_name_of_a_kafka_cluster_looks_like_an_option() -> None:
    ask = (
        "import sys; sys.path.insert(0, sys.argv[1]); import kafka;"
        " print(*{kafka.new_cluster_id()[0] for _ in range(9999)})"
    )
    done = subprocess.run(
        ["python3", "-c", ask, "docker/native"], capture_output=True, text=True, cwd=CHECKOUT, check=True
    )
    assert (len(done.stdout.split()), "-" in done.stdout) == (63, False)


def test_unknown_names_are_refused_with_the_valid_ones(place: Place) -> None:
    done = place.services("up", "oracle")
    assert (done.returncode, done.stderr) == (
        2,
        "lakeferry: There is no service oracle. Valid: mariadb, tidb, kafka, moto, bigquery.\n",
    )


def test_a_pid_that_went_to_another_process_is_left_alone(place: Place, bystander: subprocess.Popen[bytes]) -> None:
    """The pid file names a process that ended; its id now is the bystander's."""
    (place.state / "kafka").mkdir(parents=True)
    record = place.state / "kafka" / "pid.json"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    ticks = int(Path(f"/proc/{bystander.pid}/stat").read_text().rpartition(")")[2].split()[19])

    record.write_text(json.dumps({"pid": bystander.pid, "start_ticks": ticks - 1, "boot_id": boot, "ports": {}}))
    done = place.services("down", "kafka")
    assert "Nothing ran" in done.stdout
    assert bystander.poll() is None

    # The same file with the right start time does stop it: the start time is what decides.
    record.write_text(json.dumps({"pid": bystander.pid, "start_ticks": ticks, "boot_id": boot, "ports": {}}))
    done = place.services("down", "kafka")
    assert "Kafka stopped" in done.stdout
    assert bystander.wait(timeout=10) != 0


def test_a_service_left_half_made_is_made_again(running: Place) -> None:
    """`up` was killed after Kafka had answered and before all was made."""
    record = running.state / "kafka" / "pid.json"
    left = json.loads(record.read_text())
    record.write_text(json.dumps(left | {"ready": False}))

    assert running.services("up").returncode == 0

    assert json.loads(record.read_text())["ready"] is True
    assert running.pid("kafka") != left["pid"]
    assert not is_running(left["pid"])


def test_down_forgets_the_lake_and_keeps_the_databases(running: Place) -> None:
    with connect(running, "aurora_payments") as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE shop.kept (id INT PRIMARY KEY)")
        cursor.execute("INSERT INTO shop.kept VALUES (7)")
        connection.commit()
    catalog = running.state / "catalog.db"
    catalog.write_bytes(b"names tables in the bucket that goes")
    dataset = f"{running.settings()['LAKEFERRY_WAREHOUSE_ENDPOINT']}/bigquery/v2/projects/lakeferry-local/datasets"
    reference = {"datasetReference": {"projectId": "lakeferry-local", "datasetId": "gone"}}
    assert requests.post(dataset, json=reference, timeout=10).status_code == 200
    pids = [running.pid(service) for service in PORTS]
    passwords = (running.state / "passwords.json").read_bytes()

    done = running.services("down")

    assert done.returncode == 0
    assert "in moto's memory and is gone" in done.stdout
    assert not catalog.exists()
    assert not any(is_running(pid) for pid in pids)
    assert running.services("up").returncode == 0
    assert (running.state / "passwords.json").read_bytes() == passwords
    assert "gone" not in requests.get(dataset, timeout=10).text
    with connect(running, "aurora_payments") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT id FROM shop.kept")
        assert cursor.fetchall() == ((7,),)


def test_a_lost_moto_takes_catalog_and_warehouse_with_it(running: Place) -> None:
    """Not stopped by us: the catalog would name files that no bucket holds any more."""
    catalog = running.state / "catalog.db"
    catalog.write_bytes(b"names tables in the bucket that is gone")
    warehouse = running.pid("bigquery")
    subprocess.run(["kill", "-9", str(running.pid("moto"))], check=True)

    done = running.services("up")

    assert done.returncode == 0, done.stderr
    assert "catalog and warehouse begin afresh" in done.stdout
    assert not catalog.exists()
    assert running.pid("bigquery") != warehouse
