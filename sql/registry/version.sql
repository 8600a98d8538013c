-- Made by scripts/generate: what this folder holds.
\set structure '0001'
\set checksum '5b86618d69f04a4ee9220ae0cbc5d61d668acbde9cf3cf5fd4d53e355f82ce9c'
\set evtool_version '0.1.0'
