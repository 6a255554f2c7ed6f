"""Transforms: functions from curated tables to derived ones."""
