"""evtool brings a slice of production home: Message DB streams at their exact positions."""

__version__ = "0.1.0"
