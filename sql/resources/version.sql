-- Made by scripts/generate: what this folder holds.
\set structure '0001'
\set checksum 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
\set evtool_version '0.1.0'
