-- Made by scripts/generate: what this folder holds.
\set structure '0001'
\set checksum '2969dc4eec29fc6732cfb42693a139042e9d68b196f36abd0bf7d72df6b0ad13'
\set evtool_version '0.1.0'
