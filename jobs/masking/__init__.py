"""Masks: what of a personal column reaches the lake."""
