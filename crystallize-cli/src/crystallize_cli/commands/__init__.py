"""The subcommands: one module each, imported when the command is used."""
