"""The load stage: published batches into BigQuery."""
