"""The documents of a run: its plan, its receipts, and what it was asked for."""
