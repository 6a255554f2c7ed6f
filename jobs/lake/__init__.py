"""The lake: documents (plans, receipts, reports) and Iceberg tables."""
