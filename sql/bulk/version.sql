-- Made by scripts/generate: what this folder holds.
\set structure '0001'
\set checksum '268f8abe727a668f4aa0f1ebc2633000067bd09c9ba30f6a1980a654fbda2430'
\set evtool_version '0.1.0'
