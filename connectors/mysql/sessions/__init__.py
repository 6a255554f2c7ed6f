"""Sessions with a server: how they are opened, and whether it is the one that rows are written on."""
