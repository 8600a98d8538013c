"""The command line: the only place that prints or exits. Each command parses, calls a function of the library, prints."""
