"""Kafka topics of JSON messages as a source."""

from connectors.kafka.source import KafkaOptions, KafkaSource

__all__ = ["KafkaOptions", "KafkaSource"]
