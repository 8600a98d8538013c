"""`evtool bulk`: the commands on tables of records."""
