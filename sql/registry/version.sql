-- Made by scripts/generate: what this folder holds.
\set structure '0001'
\set checksum 'febf4fc8b47967381ac55fcc484c39814e421ee4673272127e4f36591427baf0'
\set evtool_version '0.1.0'
