"""Charts, with or without the extra."""
