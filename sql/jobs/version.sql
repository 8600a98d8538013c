-- Made by scripts/generate: what this folder holds.
\set structure '0001'
\set checksum '3a8cf40eb5681074d0570ab237e7687f2b01eb3f9c0cd1ec5d36506a8934b4d2'
\set evtool_version '0.1.0'
