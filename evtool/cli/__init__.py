"""The command line: the only place that prints or exits. A command parses, calls a function of the library, prints."""
