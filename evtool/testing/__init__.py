"""What tests need: a PostgreSQL server to run against, wherever one can be had.

from evtool.testing import start_server

with start_server() as server:
    print(server.describe(), server.dsn)
"""

from evtool.testing.servers import RUNGS, DatabaseServer, start_server

__all__ = ["RUNGS", "DatabaseServer", "start_server"]
