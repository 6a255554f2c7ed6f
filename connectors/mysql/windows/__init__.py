"""Windows of a read, and the cursors they run over."""
