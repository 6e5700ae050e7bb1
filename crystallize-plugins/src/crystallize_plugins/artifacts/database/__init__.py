"""``run.db``: its tables, opening them, values as typed JSON, and the one writer."""
