"""The load stage: brings published batches into BigQuery."""
