"""The warehouse as settings and specs want it."""
