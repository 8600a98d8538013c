-- Made by scripts/generate: what this folder holds.
\set structure '0001'
\set checksum 'bc2cb14279482c5ef39809325035740c4101e0790059f19ba71ec571a18a51b2'
\set evtool_version '0.1.0'
