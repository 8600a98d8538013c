-- Made by scripts/generate: what this folder holds.
\set structure '0001'
\set checksum '44cb4e412c8bd59853ced6e1d17dab722a8e7feb626d9b9428f39082c967d341'
\set evtool_version '0.1.0'
