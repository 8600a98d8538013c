-- Made by scripts/generate: what this folder holds.
\set structure '0001'
\set checksum '4706411e70eb6c24f8d9a131b20c320fbd92aa1aa0d0645d0f99e75695927272'
\set evtool_version '0.1.0'
