-- Made by scripts/generate: what this folder holds.
\set structure '0001'
\set checksum '90163984fa69053913eb5ffc67ad353746369ad0c8dd867475c94c0c27545235'
\set evtool_version '0.1.0'
