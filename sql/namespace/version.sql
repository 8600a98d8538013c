-- Made by scripts/generate: what this folder holds.
\set structure '0001'
\set checksum '543f3da88a98e9ec54249556e0dd7b4695188ba56e0d75d14c761f409cd1b5d1'
\set evtool_version '0.1.0'
