"""Masks in a spec: what is refused with its line, and what a value's hash is."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from connectors.errors import ConfigurationError, ConnectionNotFound, SpecError
from jobs.masking.keyed_hash import hashed_array, keyed_hash
from jobs.masking.masks import open_masking
from jobs.spec.reader import read_spec

KEY = b"0123456789abcdef0123456789abcdef"
SPEC = """\
pipeline: p
source: {type: aurora, connection: c}
datasets:
  - name: d
    table: a.b
    primary_key: [id]
    cursor: updated_at
    write_disposition: merge
    mask:
      phone: hmac
      memo: drop
      email: null
      card: truncate
    bigquery: {table: x.y, partition_by: created_at, cluster_by: [shop]}
"""

# printf '%s' TEXT | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
EMAIL = "d1f8fd2de4227cf7508eaf5d40a12baf265161a60fa579b26c7c0fc5a9d2dc6b"  # taro@example.jp
AS_WRITTEN = "46b18b332ea43784752e91e62d2d291cdfca070a1ba22d0f7894933750b57918"  # " Taro@Example.JP "
STRASSE = "56775067c3caca725416709e8dc1f6ef3edc842681e8b690807e7e59ac7138c1"  # strasse
PHONE = "620063eb5f36c7254e7c2aeb9d08353a80399d19ea2d57c34eddc7ee56fe0d77"  # 090-1234-5678
FORTY_TWO = "3b12d0412db185c98ff58825ed4c81cfbc7bdabcf33ac48bdaaae5f39fc65445"  # 42
AND_A_HALF = "a9da316bdfae38dcdb2b45be9dbf7d7baa6fc103a960031bb1f384ff00a4e401"  # 42.5
ZERO = "adb18d2a79fb97e5f5af13a942fab1070b8e50ee62129ade0b6328444b9a508c"  # 0
DAY = "e3b3a10f728eb73ba39d2bb5a600f0643d0426d751f36a35c0ad56b15e49fe8d"  # 2026-11-20
INSTANT = "4380ffa01bd399fb8d9fc0c27a3da6c5f4611eb086159b4e4a27cc5ca1fbae82"  # 2026-11-20T01:02:03.000000Z
TRUE = "2ebc4929adf1d9e0918cdc309ebf64bb0f49f05e520074573f5d108df2717ddd"  # true
BYTES = "a8d11b8487ab160ffda6c05d7e0e446d5c9aa7e3c3f33273b4f28ac6e6e139b8"  # the bytes 00 FF


def test_the_four_words_and_yaml_s_own_null(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(SPEC, encoding="utf-8")
    spec = read_spec(tmp_path / "p.yaml")
    assert spec.datasets[0].mask == {"phone": "hmac", "memo": "drop", "email": "null", "card": "truncate"}
    assert spec.connections == ("c", "mask_key")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("phone: hmac", "phone: hash", ["p.yaml:10", "'hash'", "drop, null, hmac, truncate"]),
        ("phone: hmac", "updated_at: hmac", ["p.yaml:10", "dataset d", "cursor 'updated_at'"]),
        ("phone: hmac", "updated_at: null", ["p.yaml:10", "cursor 'updated_at'"]),
        ("memo: drop", "id: drop", ["p.yaml:11", "mask drop on 'id'", "primary_key", "Write id: hmac"]),
        ("card: truncate", "id: truncate", ["p.yaml:13", "primary_key"]),
        ("email: null", "id: null", ["p.yaml:12", "primary_key"]),
        ("phone: hmac", "created_at: hmac", ["p.yaml:10", "bigquery.partition_by"]),
        ("memo: drop", "shop: drop", ["p.yaml:11", "bigquery.cluster_by"]),
        ("datasets:", "mask_key: Not-A-Name\ndatasets:", ["p.yaml:3", "mask_key"]),
    ],
)
def test_a_mask_that_cannot_be_is_refused_with_its_line(tmp_path: Path, old: str, new: str, words: list[str]) -> None:
    (tmp_path / "p.yaml").write_text(SPEC.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        read_spec(tmp_path / "p.yaml")
    for word in words:
        assert word in str(caught.value)


def test_hmac_on_keys_and_cluster_columns_is_fine(tmp_path: Path) -> None:
    text = SPEC.replace("phone: hmac", "id: hmac").replace("memo: drop", "shop: hmac")
    (tmp_path / "p.yaml").write_text(text, encoding="utf-8")
    assert read_spec(tmp_path / "p.yaml").datasets[0].mask["id"] == "hmac"


def test_a_derived_dataset_has_no_masks(tmp_path: Path) -> None:
    text = (
        "pipeline: p\ndatasets:\n  - name: d\n    inputs: [e]\n    transform: a.b:c\n    write_disposition: replace\n"
        "    mask: {phone: hmac}\n    bigquery: {table: x.y}\n"
    )
    (tmp_path / "p.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match=r"p\.yaml:7.*Mask the inputs"):
        read_spec(tmp_path / "p.yaml")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("taro@example.jp", EMAIL),
        (" Taro@Example.JP ", EMAIL),
        ("ｔａｒｏ＠ｅｘａｍｐｌｅ．ｊｐ", EMAIL),
        ("　taro@example.jp\u00a0", EMAIL),
        ("STRASSE", STRASSE),
        ("Straße", STRASSE),
        ("０９０-１２３４-５６７８", PHONE),
        ("42", FORTY_TWO),
        (42, FORTY_TWO),
        (Decimal("42.00"), FORTY_TWO),
        (Decimal("4.2E1"), FORTY_TWO),
        (Decimal("42.5000"), AND_A_HALF),
        (Decimal("-0.00"), ZERO),
        (date(2026, 11, 20), DAY),
        (datetime(2026, 11, 20, 1, 2, 3, tzinfo=UTC), INSTANT),
        (datetime.fromisoformat("2026-11-20T10:02:03+09:00"), INSTANT),
        (True, TRUE),
        (b"\x00\xff", BYTES),
    ],
)
def test_one_value_is_one_hash_wherever_it_stands(value: str | int | Decimal | date | bytes, expected: str) -> None:
    assert keyed_hash(value, KEY) == expected


def test_text_that_differs_inside_is_another() -> None:
    assert keyed_hash("09012345678", KEY) != PHONE
    assert keyed_hash("taro@example.jp", b"another key, another hash" * 2) != EMAIL


def test_keys_are_hashed_as_they_stand() -> None:
    assert keyed_hash("taro@example.jp", KEY, exact=True) == EMAIL
    assert keyed_hash(" Taro@Example.JP ", KEY, exact=True) == AS_WRITTEN


def test_arrow_columns_keep_their_nulls_and_their_shortest_digits() -> None:
    assert hashed_array(pa.array(["42", None]), KEY, exact=False).to_pylist() == [FORTY_TWO, None]
    assert hashed_array(pa.array([42.5, None], pa.float32()), KEY, exact=False).to_pylist() == [AND_A_HALF, None]
    assert hashed_array(pa.array([0.1], pa.float32()), KEY, exact=False) == hashed_array(
        pa.array([Decimal("0.1")]), KEY, exact=False
    )
    assert hashed_array(pa.array([float("nan")]), KEY, exact=False).to_pylist() == [keyed_hash("nan", KEY)]


def test_the_key_is_looked_up_for_hmac_only_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_NO_KEY", raising=False)
    assert open_masking({"a": "drop", "b": "truncate"}, ["id"], "no_key").key is None
    with pytest.raises(ConnectionNotFound, match=r"hmac needs a key.*no_key.*AIRFLOW_CONN_NO_KEY=generic://:KEY@"):
        open_masking({"a": "hmac"}, ["id"], "no_key")
    monkeypatch.setenv("AIRFLOW_CONN_NO_KEY", "generic://somewhere")
    with pytest.raises(ConfigurationError, match="it has none"):
        open_masking({"a": "hmac"}, ["id"], "no_key")
    monkeypatch.setenv("AIRFLOW_CONN_NO_KEY", "generic://:too-short@")
    with pytest.raises(ConfigurationError, match="16 bytes at least") as caught:
        open_masking({"a": "hmac"}, ["id"], "no_key")
    assert "too-short" not in str(caught.value)
    monkeypatch.setenv("AIRFLOW_CONN_NO_KEY", f"generic://:{KEY.decode()}@")
    masking = open_masking({"a": "hmac"}, ["id"], "no_key")
    assert masking.key == KEY
    assert KEY.decode() not in repr(masking)
