"""Tables, not events: records of files into tables with a verdict for each, and tables into files."""
