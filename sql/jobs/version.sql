-- Made by scripts/generate: what this folder holds.
\set structure '0001'
\set checksum '332091c5d80b6b8e0661047032bb7f1d70c037827ec6395c8ecf2f1e836e7a09'
\set evtool_version '0.1.0'
