"""Runs a command and prints its peak memory in bytes, to the file that the first argument names.

A process of its own, and a small one: a child's peak starts at the size of the process that it was forked from.
"""

import os
import sys

target, *command = sys.argv[1:]
child = os.posix_spawnp(command[0], command, os.environ)
_, status, usage = os.wait4(child, 0)
with open(target, "w", encoding="ascii") as file:
    file.write(str(usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)))
sys.exit(os.waitstatus_to_exitcode(status) and 1)
